# Everything works on a fresh machine with Python 3.11 or later: each target makes what it needs.
# Another interpreter: make demo PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIPELINE := $(BIN)/pipeline
CATALOG := demo/catalog.yaml

.PHONY: help demo test field-readers lint types docs linkcheck format clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    simulate, ingest, train and decode four sessions; results in demo/"
	@echo "make test    all tests and the examples of the documentation"
	@echo "make field-readers   install brainsets, nlb_tools and falcon_challenge apart, and compare with them"
	@echo "make lint    formatting, lint rules, import rules, spelling"
	@echo "make types   static types"
	@echo "make docs    the manual, in docs/_build/html"
	@echo "make linkcheck   ask the hosts of all links in the manual; needs a network"
	@echo "make format  format the code"
	@echo "make clean   remove what the targets above have made, the environment included"

demo: $(VENV)/.installed
	$(PIPELINE) simulate demo/nwb --config docs/examples/demo_simulation.yaml
	$(PIPELINE) run ingest --path demo/nwb --catalog $(CATALOG)
	$(PIPELINE) run train --model mdssm --config docs/examples/demo_train.yaml --catalog $(CATALOG)
	$(PIPELINE) run decode --catalog $(CATALOG) --ensemble
	@echo
	@echo "Trial stores  demo/stores/"
	@echo "Trained run   demo/runs/"
	@echo "Pictures      demo/results/decode/"
	@echo "All of it is listed in $(CATALOG); look with: $(PIPELINE) catalog list --catalog $(CATALOG)"

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile

field-readers: $(VENV)/.installed-dev
	$(BIN)/python tests/nwb/field_readers/environment.py
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/nwb/field_readers

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell

types: $(VENV)/.installed-dev
	$(BIN)/mypy

docs: $(VENV)/.installed-docs
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

linkcheck: $(VENV)/.installed-docs
	$(BIN)/sphinx-build -D nb_execution_mode=off -b linkcheck docs docs/_build/linkcheck

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) demo docs/_build docs/reference/generated

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nwb-latents needs Python 3.11 or later, \
	found %d.%d. Name another interpreter: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e .
	@touch $@

$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e ".[$*]"
	@touch $@

"""The experiments and systems of ``benchmarks/``, importable as in a checkout; the sdist has none of them."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

if (ROOT / "benchmarks" / "reproduce").is_dir():
    sys.path.append(str(ROOT))
else:
    collect_ignore_glob = ["test_*.py"]

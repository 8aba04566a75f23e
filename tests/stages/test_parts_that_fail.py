"""Decoders, exporters and layouts of other distributions that fail at work: named, and alone."""

from __future__ import annotations

import json

import pytest

from nwb_latents.pipeline.errors import DataError, PartialFailure
from nwb_latents.pipeline.nwb.file import open_nwb
from nwb_latents.pipeline.nwb.recognition import layout_of
from nwb_latents.pipeline.stages.decode import decode
from nwb_latents.pipeline.stages.export import export
from nwb_latents.pipeline.stores.measurements import read_measurements
from nwb_latents.schemas.decoding import DecodeSettings

DECODER = """
import numpy as np
from nwb_latents.pipeline.evaluation.decoding.decoder import Decoder

class Fitted:
    training_r2, chosen, n_outputs = None, {{}}, 2
    def __init__(self, features):
        self.n_features = np.shape(features)[-1]
    def predict(self, features):
        print("predicting")
        zeros = np.zeros((*np.shape(features)[:-1], 2))
        {predict}

class Mine(Decoder):
    name = "mine"
    def fit(self, features, velocity):
        {fit}
"""

FIT = "return Fitted(features)"
DECODERS = {
    "fit raises": ("raise AttributeError('x')", "return zeros", "cannot be fitted: AttributeError: x"),
    "no fit": ("return None", "return zeros", "made a NoneType as its fit"),
    "other fit": ("return Fitted(features[..., 1:])", "return zeros", "says it was fitted to"),
    "predict raises": (FIT, "raise IndexError('x')", "cannot predict: IndexError: x"),
    "nothing": (FIT, "return None", "cannot predict: it predicted object of shape"),
    "shape": (FIT, "return zeros[..., :1]", "cannot predict: it predicted float64 of shape"),
    "text": (FIT, "return zeros.astype(str)", "cannot predict: it predicted <U"),
    "NaN": (FIT, "return zeros * np.nan", "predicted values that are not finite in"),
    "infinite": (FIT, "return zeros + np.inf", "predicted values that are not finite in"),
}


@pytest.fixture
def catalog(tmp_path, make_reaches, as_recording, enter_recording):
    path = tmp_path / "catalog.yaml"
    enter_recording(path, as_recording(make_reaches(n_trials=40, n_units=6)), subject="A")
    return path


@pytest.mark.parametrize("case", DECODERS)
@pytest.mark.parametrize("decoders", [("ridge", "mine"), ("mine", "ridge")])
def test_a_decoder_that_fails_is_named_and_the_others_numbers_are_kept(plug, catalog, case, decoders):
    fit, predict, says = DECODERS[case]
    plug("lab_part", DECODER.format(fit=fit, predict=predict), decoders={"mine": "lab_part:Mine"})
    told = []
    settings = DecodeSettings(decoders=decoders, n_permutations=0, lag_scan_ms=(60.0, 100.0))
    with pytest.raises(PartialFailure, match=r"decoder mine on .*'mine' of lab_part 1\.0"):
        decode(catalog, settings, report=told.append)
    (failed,) = [event for event in told if getattr(event, "status", "") == "failed"]
    assert (failed.event, failed.decoder) == ("decoder", "mine")
    assert says in failed.reason
    kept = read_measurements(catalog)
    assert set(kept["decoder"]) == {"ridge"}
    assert {"velocity_r2", "lag_scan_velocity_r2"} <= set(kept["name"])


def test_alone_it_is_a_failure_of_its_sessions(plug, catalog):
    source = DECODER.format(fit="raise TypeError('x')", predict="return zeros")
    plug("lab_part", source, decoders={"mine": "lab_part:Mine"})
    with pytest.raises(PartialFailure, match=r"sub-A.*'mine' of lab_part 1\.0 cannot be fitted: TypeError"):
        decode(catalog, DecodeSettings(decoders=("mine",)))


def test_what_a_decoder_prints_is_not_among_the_events(plug, catalog, pipeline_command, monkeypatch):
    place = plug(
        "lab_part", DECODER.format(fit=FIT, predict="return zeros"), decoders={"mine": "lab_part:Mine"}
    )
    monkeypatch.setenv("PYTHONPATH", str(place))
    words = ("--set", "decoders=[mine]", "--set", "n_permutations=0", "--json")
    done = pipeline_command("run", "decode", "--catalog", catalog, *words)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()].count("measurement") == 1
    assert "predicting" in done.stderr


EXPORTER = """
from nwb_latents.pipeline.stores.exporters.exporter import Exporter
from nwb_latents.schemas.base import Frozen

class Settings(Frozen):
    "None."

class Mine(Exporter[Settings]):
    name, suffix, settings_type, summary = "mine", ".txt", Settings, "Text."
    {init}
    def write(self, session, path, settings):
        path.write_text("text")
        {write}
"""


@pytest.mark.parametrize("write", ["raise TypeError('x')", "return 3", "raise AttributeError('x')"])
def test_an_exporter_that_fails_fails_its_sessions_and_leaves_nothing(plug, catalog, write):
    plug("lab_part", EXPORTER.format(write=write, init=""), exporters={"mine": "lab_part:Mine"})
    with pytest.raises(PartialFailure, match=r"sub-A.*: (TypeError|AttributeError)"):
        export(catalog, "mine")
    assert not [path for path in catalog.parent.glob("exports/**/*") if path.is_file()]


@pytest.mark.parametrize(
    ("write", "notes"),
    [("return None", ()), ("return 'a note'", ("a note",)), ("return ['a', 'b']", ("a", "b"))],
)
def test_notes_of_an_exporter_may_be_one_or_none(plug, catalog, write, notes):
    plug("lab_part", EXPORTER.format(write=write, init=""), exporters={"mine": "lab_part:Mine"})
    told = []
    export(catalog, "mine", report=told.append)
    assert tuple(event.text for event in told if event.event == "note") == notes


def test_an_exporter_that_cannot_be_made_is_named(plug, catalog):
    init = "def __init__(self): raise RuntimeError('x')"
    plug("lab_part", EXPORTER.format(write="return []", init=init), exporters={"mine": "lab_part:Mine"})
    with pytest.raises(Exception, match=r"'mine' of lab_part 1\.0 cannot be made: RuntimeError: x"):
        export(catalog, "mine")


LAYOUT = """
from nwb_latents.pipeline.nwb.layouts.layout import Layout

def fails(*args):
    raise RuntimeError("x")

LAYOUT = Layout(name="mine", summary="fails", recognises=fails, priority=5)
"""


def test_a_layout_that_fails_at_a_file_is_named_and_not_the_file_called_damaged(
    plug, tmp_path, make_reaches, make_nwb
):
    path = make_nwb(tmp_path / "sub-A" / "sub-A_ses-CO-1.nwb", make_reaches(n_trials=12))
    plug("lab_part", LAYOUT, layouts={"mine": "lab_part:LAYOUT"})
    says = r"the layout 'mine' of lab_part 1\.0 failed at it: RuntimeError: x"
    with pytest.raises(DataError, match=says), open_nwb(path) as file:
        layout_of(file)
    with open_nwb(path) as file:
        assert layout_of(file, "generic").name == "generic"

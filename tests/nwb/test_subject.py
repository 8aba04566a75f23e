"""What a file states of its subject, as it words it."""

import h5py
import pytest

from nwb_latents.pipeline.nwb.file import open_nwb
from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.nwb.subject import subject_facts
from nwb_latents.pipeline.signals.recording import SubjectFacts
from nwb_latents.schemas.recipe import IngestRecipe


def read_subject(path):
    with open_nwb(path) as file:
        return subject_facts(file)


@pytest.fixture
def with_subject(small_nwb):
    """Return a function that writes datasets of the subject into a small file."""

    def write(reference=None, **facts):
        with h5py.File(small_nwb, "a") as h5:
            for name, value in facts.items():
                h5[f"general/subject/{name}"] = value
            if reference is not None:
                h5["general/subject/age"].attrs["reference"] = reference
        return small_nwb

    return write


def test_species_sex_and_age_are_read(with_subject):
    path = with_subject(species="Macaca mulatta ", sex="M", age="P8Y", reference="birth")
    assert read_subject(path) == SubjectFacts("Macaca mulatta", "M", "P8Y")


def test_what_a_file_does_not_state_is_none(with_subject):
    assert read_subject(with_subject(sex="F", species="")) == SubjectFacts(sex="F")


@pytest.mark.parametrize("reference", ["gestational", b"gestational"])
def test_an_age_that_does_not_count_from_birth_is_left_out(with_subject, reference):
    assert read_subject(with_subject(age="P60D", reference=reference)).age is None


def test_a_recording_carries_them(with_subject):
    recording = read_recording(with_subject(species="Macaca mulatta"), IngestRecipe())
    assert recording.subject_facts.species == "Macaca mulatta"

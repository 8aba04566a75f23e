"""What a file states of its subject, as it words it."""

import h5py
import pytest

from pipeline.errors import DataError
from pipeline.nwb.subject import SubjectFacts, read_subject


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


def test_what_is_not_nwb_is_refused(tmp_path):
    (tmp_path / "a.nwb").write_text("text")
    with pytest.raises(DataError, match="not an NWB file"):
        read_subject(tmp_path / "a.nwb")

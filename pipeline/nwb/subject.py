"""What an NWB file states of its subject beyond the id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.nwb.file import open_nwb

if TYPE_CHECKING:
    from pipeline.nwb.file import NwbFile, NwbSource

_SUBJECT = "general/subject"


@dataclass(frozen=True)
class SubjectFacts:
    """Facts of a subject, as the file words them; None where it is silent.

    Attributes
    ----------
    species
        E.g. Macaca mulatta.
    sex
        M, F, U (unknown) or O (other).
    age
        ISO 8601 duration since birth.
    """

    species: str | None = None
    sex: str | None = None
    age: str | None = None


def subject_facts(file: NwbFile) -> SubjectFacts:
    """Return what an open file states of its subject.

    An age that does not count from birth is left out.

    Parameters
    ----------
    file
        The open file.
    """
    reference = file.attribute(f"{_SUBJECT}/age", "reference") if file.has(f"{_SUBJECT}/age") else None
    reference = reference.decode() if isinstance(reference, bytes) else reference
    return SubjectFacts(
        species=_stated(file, "species"),
        sex=_stated(file, "sex"),
        age=_stated(file, "age") if reference in (None, "birth") else None,
    )


def read_subject(source: NwbSource, *, name: str | None = None) -> SubjectFacts:
    """Return what a file states of its subject, without reading its data.

    Parameters
    ----------
    source
        As for `pipeline.nwb.read.read_recording`.
    name
        Name of the file where the source has none.

    Raises
    ------
    DataError
        If the file is not NWB.

    Examples
    --------
    >>> import io
    >>> import h5py
    >>> content = io.BytesIO()
    >>> with h5py.File(content, "w") as h5:
    ...     h5.attrs["nwb_version"] = "2.7.0"
    ...     h5["general/subject/sex"] = "M"
    >>> read_subject(content)
    SubjectFacts(species=None, sex='M', age=None)
    """
    with open_nwb(source, name=name) as file:
        return subject_facts(file)


def _stated(file: NwbFile, name: str) -> str | None:
    return (file.text(f"{_SUBJECT}/{name}") or "").strip() or None

"""What an NWB file states of its subject beyond the id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.signals.recording import SubjectFacts

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile

_SUBJECT = "general/subject"


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


def _stated(file: NwbFile, name: str) -> str | None:
    return (file.text(f"{_SUBJECT}/{name}") or "").strip() or None

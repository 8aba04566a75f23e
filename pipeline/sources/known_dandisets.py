"""The dandisets this project knows how to read."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.schemas.catalog import DandisetEntry

_PACKAGED = "known_dandisets.yaml"


def known_dandisets() -> dict[str, DandisetEntry]:
    """Return the known dandisets by their id, in order of it.

    They come with the package: the file is `catalog.yaml` at the top of the source.

    Returns
    -------
    entries
        Dandiset id → pinned version, layout, citation and known issues.

    Raises
    ------
    SettingsError
        If the file is missing or does not hold what it should.

    Examples
    --------
    >>> known_dandisets()["000688"].version
    '0.250122.1735'
    """
    packaged = resources.files("nwb_latents") / _PACKAGED
    return parse_dandisets(_read(Path(str(packaged))), source=_PACKAGED)


def parse_dandisets(text: str, *, source: str) -> dict[str, DandisetEntry]:
    """Read the ``dandisets`` of a catalog; whatever else it holds is not looked at.

    Parameters
    ----------
    text
        A catalog in YAML.
    source
        Where it comes from, for messages.

    Raises
    ------
    SettingsError
        If it is not YAML or an entry is not as `schemas.catalog.DandisetEntry` says.

    Examples
    --------
    >>> parse_dandisets("dandisets: {}", source="catalog.yaml")
    {}
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{source}: not readable as YAML: {error}. Restore the file.") from error
    entries = content.get("dandisets") if isinstance(content, dict) else None
    try:
        found = TypeAdapter(dict[str, DandisetEntry]).validate_python(entries or {})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(word) for word in first["loc"])
        raise SettingsError(
            f"{source}: dandisets.{where}: {first['msg']}. Ids and versions are text: quote them."
        ) from error
    return dict(sorted(found.items()))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"{path}: the list of known dandisets cannot be read: {error.strerror}. "
            "Install the package again."
        ) from error

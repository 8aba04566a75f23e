"""Settings as one line each, so that those of two runs can be held against each other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nwb_latents.schemas.base import Frozen


def flat_settings(settings: Frozen) -> dict[str, str]:
    """Return each setting by its name with dots, as text.

    Parameters
    ----------
    settings
        Any settings.

    Examples
    --------
    >>> from nwb_latents.schemas.quality import QualityFilter
    >>> flat_settings(QualityFilter())["min_trials"]
    '0'
    """
    return dict(_lines("", settings.model_dump(mode="json")))


def unlike_default(settings: Frozen) -> dict[str, object]:
    """Return what of settings is not as by default, nested as in a YAML file.

    Parameters
    ----------
    settings
        Any settings whose fields have defaults, or that say those that have none.

    Examples
    --------
    >>> from nwb_latents.schemas.quality import QualityFilter
    >>> unlike_default(QualityFilter(min_trials=3))
    {'min_trials': 3}
    """
    return _difference(settings.model_dump(mode="json"), _defaults(settings))


def _defaults(settings: Frozen) -> dict[str, object]:
    required = {
        name: getattr(settings, name)
        for name, field in type(settings).model_fields.items()
        if field.is_required()
    }
    kind = getattr(settings, "model", None)
    # Defaults of a training are those of its own model.
    if kind is not None and hasattr(kind, "name"):
        required["model"] = {"name": kind.name}
    return type(settings).model_validate(required).model_dump(mode="json")


def _difference(mine: Mapping[str, object], other: Mapping[str, object]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in mine.items():
        default = other.get(name)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            inside = _difference(value, default)
            if name == "model" and "name" in value:
                inside = {"name": value["name"], **inside}
            if inside:
                found[name] = inside
        elif name not in other or value != default:
            found[name] = value
    return found


def _lines(prefix: str, content: Mapping[str, object]) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for name, value in content.items():
        if isinstance(value, Mapping) and value:
            lines += _lines(f"{prefix}{name}.", value)
        else:
            lines.append((f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)))
    return lines

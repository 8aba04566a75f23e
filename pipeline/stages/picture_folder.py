"""Where the pictures of a stage go: one folder for each choice of settings, which says what they were.

The same command again replaces its own pictures; with other settings it leaves those of the first alone.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, get_args

import yaml

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.stores.atomic import write_text
from nwb_latents.schemas.pictures import DEFAULT_DPI, LEAST_DPI, MOST_DPI, PictureFormat, PictureSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from nwb_latents.schemas.base import Frozen

SETTINGS_FILE = "settings.yaml"


def settings_folder(said: str, settings: Frozen, **also: object) -> str:
    """Return the name of the folder for the pictures of some settings.

    Parameters
    ----------
    said
        What a person looks for first, e.g. the lag.
    settings
        All of them count, also those that decide no number: they may decide what is drawn.
    also
        What else was asked for, beyond the settings.

    Examples
    --------
    >>> from nwb_latents.schemas.decoding import DecodeSettings
    >>> first, second = (settings_folder("lag", DecodeSettings(seed=seed)) for seed in (0, 1))
    >>> first[:4], len(first), first == second, first == settings_folder("lag", DecodeSettings())
    ('lag-', 12, False, True)
    """
    text = json.dumps(_content(settings, also), sort_keys=True)
    return f"{said}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def note_settings(folder: Path, settings: Frozen, **also: object) -> None:
    """Write into a folder of pictures which settings they were made with.

    Raises
    ------
    MachineError
        If the disk refuses.
    """
    text = yaml.safe_dump(_content(settings, also), sort_keys=False, width=110)
    write_text(folder / SETTINGS_FILE, text)


def of_sessions(name: str, sessions: Iterable[str], *, known: Iterable[str]) -> str:
    """Return the name of a picture over several sessions: of a part of them, it says which part.

    Parameters
    ----------
    name
        Name of the picture of all sessions.
    sessions
        Those that are drawn.
    known
        All there are.

    Examples
    --------
    >>> of_sessions("summary", ["a", "b"], known=["b", "a"])
    'summary'
    >>> of_sessions("summary", ["a"], known=["b", "a"])
    'summary_1-of-2-sessions-0eb5b8'
    """
    drawn, there = sorted(set(sessions)), set(known)
    if set(drawn) >= there:
        return name
    digest = hashlib.sha256(json.dumps(drawn).encode()).hexdigest()[:6]
    return f"{name}_{len(drawn)}-of-{len(there)}-sessions-{digest}"


def _content(settings: Frozen, also: Mapping[str, object]) -> dict[str, object]:
    return {**settings.model_dump(mode="json"), **{key: value for key, value in also.items() if value}}


def picture_settings(
    formats: Iterable[str],
    dpi: int | None,
    *,
    said: tuple[str, str] = ("--format {}", "--dpi {}"),
) -> PictureSettings:
    """Return in which formats pictures are written, from what a person typed.

    Parameters
    ----------
    formats
        Words, or comma-separated lists of them; none: PNG.
    dpi
        Dots per inch; None: 300.
    said
        How errors name the two.

    Raises
    ------
    SettingsError
        If a format or resolution cannot be had.

    Examples
    --------
    >>> picture_settings(["png,svg", "PDF"], None).formats
    ('png', 'svg', 'pdf')
    >>> picture_settings(["jpg"], None)
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.SettingsError: --format jpg: expected png, pdf or svg, or several of them ...
    >>> picture_settings([], 7)
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.SettingsError: --dpi 7: expected a whole number from 50 to 1200, dots per...
    """
    words = [word.strip() for text in formats for word in str(text).split(",")]
    known = get_args(PictureFormat)
    for word in words:
        if word.lower() not in known:
            raise SettingsError(
                f"{said[0].format(word or '(empty)')}: expected png, pdf or svg, or several of them "
                "separated by commas. Journals take pdf and svg for lines, png for images."
            )
    dots = DEFAULT_DPI if dpi is None else dpi
    if isinstance(dots, bool) or not isinstance(dots, int) or not LEAST_DPI <= dots <= MOST_DPI:
        raise SettingsError(
            f"{said[1].format(dots)}: expected a whole number from {LEAST_DPI} to {MOST_DPI}, dots per inch; "
            "journals ask for 300, or 600 for lines."
        )
    return PictureSettings.model_validate(
        {"formats": [word.lower() for word in words] or ["png"], "dpi": dots}
    )

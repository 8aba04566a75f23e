"""Errors a user can act on.

One message says what is wrong, where, what was expected and what was found, and what to do. The class
decides the exit code of the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class PipelineError(Exception):
    """Root of all errors this program raises on purpose.

    Parameters
    ----------
    message
        One paragraph: what, where, expected against observed, remedy.

    Examples
    --------
    >>> raise DataError("a.nwb: no units table")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: a.nwb: no units table
    """

    exit_code = 4


class UsageError(PipelineError):
    """Words on the command line that make no sense together."""

    exit_code = 2


class SettingsError(PipelineError):
    """A recipe, catalog or option with a value that cannot be used.

    Parameters
    ----------
    message
        As of every error.
    setting
        Key of the setting at fault, with which the message begins; empty: it is named otherwise. A command
        line says the option in its place.
    """

    exit_code = 4

    def __init__(self, message: str, *, setting: str = "") -> None:
        super().__init__(message)
        self.setting = setting


class DataError(PipelineError):
    """A recording or store that cannot be used."""

    exit_code = 4


class NewerFileError(DataError):
    """A file that a newer version of the program wrote, and that this one does not understand."""


class MachineError(PipelineError):
    """Disk, network, archive or device that does not do its part."""

    exit_code = 5


class CatalogWarning(UserWarning):
    """Something in a catalog or among its measurements was passed over, kept aside or not understood."""


class PartialFailure(PipelineError):  # noqa: N818 (what was done is not an error)
    """Some sessions or runs failed; the others were done.

    Parameters
    ----------
    message
        How many failed, of how many, and why.
    results
        What was done, as the stage would have returned it.
    failures
        Name and reason of each that failed.

    Examples
    --------
    >>> failure = PartialFailure("1 of 2 sessions failed", results=["a"], failures=[("b", "no units")])
    >>> failure.exit_code, failure.failures
    (3, (('b', 'no units'),))
    """

    exit_code = 3

    def __init__(
        self, message: str, *, results: Sequence[object] = (), failures: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__(message)
        self.results = tuple(results)
        self.failures = tuple(failures)


def is_interruption(error: BaseException | None) -> bool:
    """Whether `error` is an interruption, or was made of one.

    Python makes a RuntimeError of what is raised while a class is made, as when modules are loaded.

    Examples
    --------
    >>> made = RuntimeError("Error calling __set_name__")
    >>> made.__cause__ = KeyboardInterrupt()
    >>> is_interruption(made), is_interruption(RuntimeError())
    (True, False)
    """
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__
    return error is not None

"""A misspelt argument of a public function is told as a misspelt setting is."""

from __future__ import annotations

import difflib
import functools
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Given = ParamSpec("Given")
Returned = TypeVar("Returned")


def named_arguments(function: Callable[Given, Returned]) -> Callable[Given, Returned]:
    """Have a function refuse an argument it does not know with the one that is nearest.

    It is for functions without settings; in others, `nwb_latents.pipeline.api.arguments.settings_of` does it.

    Raises
    ------
    SettingsError
        By the function that is returned, when it is called with an argument that is not there.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> nl.scores("catalog.yaml", session="sub-C_*")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.SettingsError: scores(): no argument 'session'; did you mean sessions?
    """
    code = getattr(function, "__code__")  # noqa: B009 - Python functions have it, callables in general do not
    known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]

    @functools.wraps(function)
    def checked(*args: Given.args, **words: Given.kwargs) -> Returned:
        for word in words:
            if word not in known:
                raise _unknown(function.__name__, word, known)
        return function(*args, **words)

    return checked


def _unknown(function: str, word: str, known: Sequence[str]) -> Exception:
    from nwb_latents.pipeline.errors import SettingsError  # noqa: PLC0415

    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known)}."
    return SettingsError(f"{function}(): no argument {word!r}; {hint}")

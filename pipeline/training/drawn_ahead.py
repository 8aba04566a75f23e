"""The trials of the next step are drawn and packed while a step is computed."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

Drawn = TypeVar("Drawn")


class DrawnAhead(Generic[Drawn]):
    """What is drawn for each step, a few steps ahead of the one that asks for it.

    A draw is a function of the step, so that what is drawn does not hang on how far ahead it was.

    Parameters
    ----------
    draw
        Step → what is drawn for it. Called in another thread where anything is drawn ahead, one call after
        the other.
    last
        Steps from this one on are not drawn ahead.
    ahead
        Steps that are drawn while another is computed; 0: each is drawn when it is asked for.

    Examples
    --------
    >>> with DrawnAhead(lambda step: step * step, last=4, ahead=2) as drawn:
    ...     [drawn.of(step) for step in range(4)]
    [0, 1, 4, 9]
    """

    def __init__(self, draw: Callable[[int], Drawn], *, last: int, ahead: int) -> None:
        self._draw, self._last, self._ahead = draw, last, ahead
        self._waiting: dict[int, Future[Drawn]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="draws") if ahead else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)

    def of(self, step: int) -> Drawn:
        """Return what is drawn for a step; steps are asked for in their order."""
        if self._thread is None:
            return self._draw(step)
        for number in range(step, max(step + 1, min(step + self._ahead + 1, self._last))):
            if number not in self._waiting:
                self._waiting[number] = self._thread.submit(self._draw, number)
        return self._waiting.pop(step).result()

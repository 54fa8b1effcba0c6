"""Progress of long work: a bar on a terminal, lines in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from functools import lru_cache
from typing import Self, TextIO, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOG_EVERY_S = 10.0


def track(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yield the items, telling how far the work is.

    Parameters
    ----------
    items : iterable
        The units of work.
    what : str
        What is being done, as a short phrase: "similarity", "training mlp".
    total : int, optional
        How many items there are, when `items` has no length.

    Yields
    ------
    object
        The items, unchanged and in order.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        yield from _bar(items, what, total)
    else:
        yield from _lines(items, what, total)


class Pulse:
    """Tell how far work is that has no loop to follow; a context manager.

    Parameters
    ----------
    what : str
        What is being done, as a short phrase.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._last = time.monotonic()
        self._status = _console(sys.stderr).status(what) if sys.stderr.isatty() else None

    def __enter__(self) -> Self:
        if self._status:
            self._status.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._status:
            self._status.stop()

    def __call__(self, how_far: str) -> None:
        """Show `how_far` on the terminal, or in the log if nothing was said for a while."""
        if self._status:
            self._status.update(f"{escape(self._what)}: {escape(how_far)}")
        elif time.monotonic() - self._last >= LOG_EVERY_S:
            self._last = time.monotonic()
            logger.info("%s: %s", self._what, how_far)


def _bar(items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=_console(sys.stderr),
        transient=True,
    )
    with progress:
        yield from progress.track(items, total=total, description=what)


@lru_cache(maxsize=1)
def _console(stream: TextIO) -> Console:
    # One console: bars of loops within loops then share the screen instead of overwriting it.
    return Console(file=stream)


def _lines(items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    started = last = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - last >= LOG_EVERY_S:
            last = now
            share = f"{done:,} of {total:,}" if total else f"{done:,}"
            logger.info("%s: %s after %.0f s", what, share, now - started)
        yield item

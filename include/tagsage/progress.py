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
from rich.progress import track as rich_track

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOG_EVERY_S = 10.0


def track(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yield the items and show how far the work, described by `what`, is."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        console = _console(sys.stderr)
        yield from rich_track(items, what, total=total, console=console, transient=True)
        return
    pulse, started = Pulse(what), time.monotonic()
    for done, item in enumerate(items):
        share = f"{done:,} of {total:,}" if total else f"{done:,}"
        pulse(f"{share} after {time.monotonic() - started:.0f} s")
        yield item


class Pulse:
    """Show how far work is that has no loop to follow; a context manager."""

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
        """Show `how_far` on the terminal, or in the log if the last line is some time ago."""
        if self._status:
            self._status.update(f"{escape(self._what)}: {escape(how_far)}")
        elif time.monotonic() - self._last >= LOG_EVERY_S:
            self._last = time.monotonic()
            logger.info("%s: %s", self._what, how_far)


@lru_cache(maxsize=1)
def _console(stream: TextIO) -> Console:
    # One console, because bars of loops within loops then share the screen.
    return Console(file=stream)

"""A harvest in a process of its own, which ends with the one that started it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess  # ruff: ignore[suspicious-subprocess-import] - our own program, no shell
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from tagsage.errors import TagsageError
from tagsage.harvest import seeds as planting
from tagsage.harvest.config import HarvestConfig, HarvestReport

LAST_LINES: Final = 20
# The crawl of a parent that was killed takes a moment to notice and to end.
PATIENCE_S: Final = 15.0
# What the crawl needs to run. Secrets come under any name, so nothing else is told: what it does
# not have no page can get out of it. A proxy's password it does need.
_TOLD: Final = re.compile(
    r"PATH|HOME|LANG|LANGUAGE|LC_\w+|TZ|TZDIR|TMPDIR|TEMP|TMP|LD_LIBRARY_PATH|SYSTEMROOT|"
    r"PYTHON\w*|VIRTUAL_ENV|SSL_CERT_(?:FILE|DIR)|(?:HTTP|HTTPS|ALL|NO)_PROXY|"
    r"COVERAGE_\w+|COV_CORE_\w+",
)


@dataclass(frozen=True)
class Progress:
    """How far a harvest is.

    Attributes
    ----------
    requests, bytes : int
        Sent and received in this run.
    lists, articles, memberships : int
        In the harvest by now.
    waiting : int
        Requests that are left, as far as is known.
    due_in_s : float or None
        Seconds until the next request; None: none is known of.
    rate : float
        Requests a minute, in this run.
    eta_s : float or None
        Seconds that the requests left will take at this rate.
    trouble : str
        A host that gave no usable answer the last time, and why; empty when there is none.
    """

    requests: int
    bytes: int
    lists: int
    articles: int
    memberships: int
    waiting: int
    due_in_s: float | None
    rate: float
    eta_s: float | None
    trouble: str


def harvest(
    folder: Path,
    seeds: Sequence[str],
    config: HarvestConfig,
    *,
    asked_hosts: Sequence[str] = (),
    on_progress: Callable[[Progress], None] | None = None,
    patience_s: float = PATIENCE_S,
) -> HarvestReport:
    """Harvest lists, articles and feeds into a folder; go on where the last run ended.

    Ctrl-C or SIGTERM ends it after the requests under way, with the outcome "interrupted"; a second
    one ends it at once. It may be killed at any moment: nothing that was fetched is lost, and at
    most the requests under way are sent a second time.

    Parameters
    ----------
    folder : pathlib.Path
        Where the harvest is kept.
    seeds : sequence of str
        Addresses of lists, articles and feeds; may be empty to go on with what is known.
    config : HarvestConfig
        Manners, limits and budget.
    asked_hosts : sequence of str
        Hosts beside those of the seeds to which redirects may lead, even on a private network.
    on_progress : callable, optional
        Called about twice a second.
    patience_s : float
        How long another harvest in the folder may still take to end, in seconds.

    Returns
    -------
    HarvestReport
        How it ended and what there is now.

    Raises
    ------
    NonRetryableError
        When it may not begin (see :func:`tagsage.harvest.seeds.check`).
    TagsageError
        When another one is under way in the folder, the file cannot be used, or the crawl crashed.
    """
    seeds = [seed.strip() for seed in seeds if seed.strip()]
    planting.check(seeds, asked_hosts, config)
    told = {
        "folder": str(folder.resolve()),
        "seeds": seeds,
        "asked_hosts": list(asked_hosts),
        "config": asdict(config),
        "patience_s": patience_s,
    }
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "tagsage.harvest.crawl"],
            stdin=reading,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment(),
            # Ctrl-C on a terminal is for the parent, which then asks the crawl to stop.
            start_new_session=True,
        )
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    with process, _Leash(process, writing) as leash:
        return _follow(process, leash, told, on_progress)


def environment() -> dict[str, str]:
    """Return what the crawl may know of this process's environment."""
    return {name: value for name, value in os.environ.items() if _TOLD.fullmatch(name.upper())}


class _Leash:
    """Holds the crawl's standard input, by whose end it knows that it is to stop.

    The first SIGINT or SIGTERM lets go of it; the second, or whatever is raised within, kills.
    Outside the main thread there are no signals to catch.
    """

    def __init__(self, process: subprocess.Popen[str], end: int) -> None:
        self._process = process
        self._end: int | None = end
        self._before: dict[int, Any] = {}
        self.is_let_go = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._heed)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if exception[0] is not None:
            self._process.kill()
        self.let_go()

    def write(self, text: str) -> None:
        """Write to the crawl."""
        rest = memoryview(text.encode())
        while rest and self._end is not None:
            rest = rest[os.write(self._end, rest) :]

    def let_go(self) -> None:
        """End the crawl's standard input."""
        end, self._end = self._end, None
        if end is not None:
            os.close(end)

    def _heed(self, _number: int, _frame: object) -> None:
        if self.is_let_go:
            self._process.kill()
            raise KeyboardInterrupt
        self.is_let_go = True
        self.let_go()


def _follow(
    process: subprocess.Popen[str],
    leash: _Leash,
    told: dict[str, Any],
    on_progress: Callable[[Progress], None] | None,
) -> HarvestReport:
    """Read what the crawl says until it ends."""
    if process.stdout is None or process.stderr is None:
        raise RuntimeError("the crawl was started without pipes")
    last: deque[str] = deque(maxlen=LAST_LINES)
    reader = threading.Thread(target=last.extend, args=(process.stderr,), daemon=True)
    reader.start()
    try:
        leash.write(json.dumps(told) + "\n")
    except BrokenPipeError:
        last.append("It ended before it was told what to do.\n")
    found: dict[str, Any] = {}
    for line in process.stdout:
        said = json.loads(line)
        found |= said
        if "progress" in said and on_progress is not None:
            on_progress(Progress(**said["progress"]))
    process.wait()
    reader.join()
    if "report" in found:
        return HarvestReport(**found["report"])
    if "error" in found:
        raise TagsageError(str(found["error"]))
    if leash.is_let_go:
        raise TagsageError("The harvest was stopped in the middle; run again to go on.")
    words = "".join(last).strip() or f"(none; status {process.returncode})"
    msg = f"The crawl crashed; run again to go on where it was. Its last words: {words}"
    raise TagsageError(msg)

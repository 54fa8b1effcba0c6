import io
import logging
import re
import sys
from itertools import count
from types import SimpleNamespace

import pytest

from tagsage import progress
from tagsage.progress import Pulse, track


@pytest.fixture
def clock(monkeypatch):
    """Let a second pass with each look at the clock, and send the progress to a log."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    ticks = count()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(ticks)))


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    # Not a fixture: pytest's capture puts its own stderr back between set-up and test.
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    return screen


def test_loops_within_loops_share_the_screen_and_all_end(monkeypatch):
    screen = on_terminal(monkeypatch)
    seen = [(a, b) for a in track("xy", "outer") for b in track(range(2), "inner")]
    assert seen == [("x", 0), ("x", 1), ("y", 0), ("y", 1)]
    assert progress._console(screen)._live_stack == []
    assert "outer" in screen.getvalue()


def test_an_error_in_the_loop_ends_the_bar_and_comes_through(monkeypatch):
    screen = on_terminal(monkeypatch)
    with pytest.raises(ValueError, match="mine"):  # ruff: ignore[pytest-raises-with-multiple-statements]
        for _ in track(range(3), "failing"):
            raise ValueError("mine")
    assert progress._console(screen)._live_stack == []


@pytest.mark.parametrize(
    ("items", "total", "expected"),
    [
        (range(30), None, r"similarity: \d+ of 30 after \d+ s"),
        (iter(range(30)), 40, r"similarity: \d+ of 40 after \d+ s"),
        (iter(range(30)), None, r"similarity: \d+ after \d+ s"),
    ],
)
def test_a_log_gets_a_line_every_ten_seconds(items, total, expected, clock, caplog):
    with caplog.at_level(logging.INFO, logger="tagsage.progress"):
        assert list(track(items, "similarity", total)) == list(range(30))
    # Each item looks at the clock twice or three times.
    assert 5 <= len(caplog.messages) <= 9
    assert all(re.fullmatch(expected, message) for message in caplog.messages)


def test_quick_work_logs_nothing(monkeypatch, caplog):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with caplog.at_level(logging.INFO, logger="tagsage.progress"), Pulse("quick") as pulse:
        list(track(range(100), "quick"))
        pulse("all of it")
    assert caplog.messages == []

import io
import logging
import re
import sys
from itertools import chain, count
from types import SimpleNamespace

import pytest

from tagsage import progress
from tagsage.progress import track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    # Not a fixture: pytest's capture puts its own stderr back between set-up and test.
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    return screen


def plain(screen: io.StringIO) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())


def test_items_come_unchanged_and_in_order_in_a_log():
    assert list(track([3, 1, 2], "counting")) == [3, 1, 2]
    assert list(track(iter("ab"), "counting")) == ["a", "b"]
    assert list(track([], "counting")) == []


def test_items_come_unchanged_and_in_order_on_a_terminal(monkeypatch):
    terminal = on_terminal(monkeypatch)
    assert list(track([3, 1, 2], "counting")) == [3, 1, 2]
    assert list(track(iter("ab"), "counting")) == ["a", "b"]
    assert "counting" in plain(terminal)


def test_loops_within_loops_share_the_screen_and_all_end(monkeypatch):
    terminal = on_terminal(monkeypatch)
    seen = [(a, b) for a in track("xy", "outer") for b in track(range(2), "inner")]
    assert seen == [("x", 0), ("x", 1), ("y", 0), ("y", 1)]
    assert progress._console(terminal)._live_stack == []
    assert "outer" in plain(terminal)


def test_an_error_in_the_loop_ends_the_bar_and_comes_through(monkeypatch):
    terminal = on_terminal(monkeypatch)

    def fail() -> None:
        for _ in track(range(3), "failing"):
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fail()
    assert progress._console(terminal)._live_stack == []


@pytest.mark.parametrize(
    ("items", "total", "expected"),
    [
        (range(30), None, ["similarity: 10 of 30 after 10 s", "similarity: 20 of 30 after 20 s"]),
        (iter(range(20)), 40, ["similarity: 10 of 40 after 10 s"]),
        (iter(range(20)), None, ["similarity: 10 after 10 s"]),
    ],
)
def test_a_log_gets_a_line_every_ten_seconds(items, total, expected, monkeypatch, caplog):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    # The first item comes at once, each one after it a second later.
    clock = chain([0], count())
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with caplog.at_level(logging.INFO, logger="tagsage.progress"):
        for _ in track(items, "similarity", total):
            pass
    assert caplog.messages == expected


def test_quick_work_logs_nothing(monkeypatch, caplog):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with caplog.at_level(logging.INFO, logger="tagsage.progress"):
        list(track(range(100), "quick"))
    assert caplog.messages == []

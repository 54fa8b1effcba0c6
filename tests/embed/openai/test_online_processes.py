"""Several processes that embed on line at the same time, and killed ones: none pays twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest

from scripts.openai_api.books import charged_twice
from scripts.openai_api.faults import Faults
from scripts.openai_server import OpenAiServer
from tagsage.embed.openai.ledger import Ledger, Spending
from tagsage.embed.openai.spool import SPOOL
from tagsage.embed.text import text_hashes
from tests.embed.openai.test_online import CONFIG, HARMFUL, Caller, titles


@pytest.fixture
def caller(tmp_path: Path) -> Generator[Caller]:
    with OpenAiServer() as server:
        yield Caller(tmp_path, server)


CHILD = """
import sys
from pathlib import Path
import numpy as np
from tagsage.openai_connection import OpenAiConnection
from tagsage.embed.openai import pacing, requests
from tagsage.embed.openai.config import Ceiling, OpenAiConfig
from tagsage.embed.openai.online import embed_online
from tagsage.embed.text import text_hashes
pacing.FIRST_PAUSE_S, pacing.LONGEST_PAUSE_S = 0.01, 0.1
folder, url, n, request_texts = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
{before}
texts = [f"Article number {{number}} on graphs" for number in range(n)]
embed_online(
    OpenAiConnection("sk-x", url),
    OpenAiConfig("text-embedding-3-small", 8, request_texts=request_texts, timeout_s=10,
                 patience_s=20, in_flight=4, encoding="base64"),
    texts, text_hashes(texts), np.arange(n)[:: int(sys.argv[6])], folder=folder, dimensions=8,
    run_id=sys.argv[5], price=0.02, ceiling=Ceiling(100.0, 10**9),
)
"""


def start_child(
    folder: Path,
    server: OpenAiServer,
    n: int,
    *,
    request_texts: int = 16,
    before: str = "",
    run_id: str = "run",
    step: int = 1,
) -> subprocess.Popen[bytes]:
    program = CHILD.format(before=before)
    arguments = [str(folder), server.base_url, str(n), str(request_texts), run_id, str(step)]
    return subprocess.Popen([sys.executable, "-c", program, *arguments])


# Waits until the test has seen that all processes are ready.
GATE = """
import os, time
(folder.parent / f"ready-{os.getpid()}").touch()
while not (folder.parent / "go").exists():
    time.sleep(0.002)
"""


@pytest.mark.parametrize("step", [1, -1])
def test_two_processes_at_the_same_time_do_not_pay_twice(tmp_path: Path, step: int) -> None:
    texts, folder = titles(400), tmp_path / "openai"
    with OpenAiServer(latency_s=0.1) as server:
        # The second begins with the same texts, or at the other end.
        children = [
            start_child(folder, server, len(texts), before=GATE, run_id=name, step=each)
            for name, each in (("first", 1), ("second", step))
        ]
        while len(list(tmp_path.glob("ready-*"))) < len(children):
            assert all(child.poll() is None for child in children)
            time.sleep(0.03)
        (tmp_path / "go").touch()
        assert [child.wait() for child in children] == [0, 0]
        assert Caller(folder, server).wrong(texts) == []
        assert set(server.books.times_charged().values()) == {1}
    with Ledger(folder) as ledger:
        first, second = ledger.spent("first"), ledger.spent("second")
        assert ledger.owners_of(CONFIG.model_id, map(bytes, text_hashes(texts))) == {}
    assert min(first.texts, second.texts) > 0
    assert first.texts + second.texts == len(texts)
    assert first.lost_requests == second.lost_requests == 0
    assert list((folder / SPOOL).iterdir()) == []


@pytest.mark.parametrize(
    "moment",
    [
        "requests.keep",  # the answer is in the spool, whole
        "requests.Asked.forget",  # its vectors are in the cache, and settled
    ],
)
def test_an_answer_that_had_come_is_not_asked_for_again(caller: Caller, moment: str) -> None:
    before = f"import os\n{moment} = lambda *_: os.kill(os.getpid(), 9)"
    child = start_child(caller.folder, caller.server, 10, before=before)
    assert child.wait() == -signal.SIGKILL
    assert caller.requests() == 1
    # Found at once by the next run, which then has nothing to send.
    assert caller.embed(titles(10)).embedded == 0
    assert caller.requests() == 1
    assert caller.wrong(titles(10)) == []
    assert caller.spent() == Spending(
        1, 10, caller.server.books.tokens, pytest.approx(caller.server.books.tokens * 0.02e-6), 0, 0
    )


def wait_until_nothing_arrives(server: OpenAiServer) -> None:
    """Wait for a moment in which no answer was sent for 30 ms.

    A client that is killed between receiving bytes and writing them down, a millisecond or two, or
    more while other tests have the processor, has lost them, and no server can tell.
    """
    sent = -1
    while sent < len(server.books.charges):
        sent = len(server.books.charges)
        time.sleep(0.03)


@pytest.mark.slow
def test_a_run_of_10_000_texts_killed_five_times_pays_for_nothing_twice(tmp_path: Path) -> None:
    texts = titles(10_000)
    faults = Faults(
        probabilities={"embeddings": {fault: share / 2 for fault, share in HARMFUL.items()}},
        slow_s=0.005,
        retry_after_s=0.05,
        seed=11,
    )
    random = np.random.default_rng(5)
    with OpenAiServer(faults=faults, latency_s=0.05) as server:
        caller = Caller(tmp_path, server)
        for _ in range(5):
            child = start_child(tmp_path, server, len(texts), request_texts=64)
            enough = len(server.books.charges) + random.integers(2, 20)
            while len(server.books.charges) < enough:
                assert child.poll() is None
                time.sleep(0.005)
            time.sleep(0.1 * random.random())
            wait_until_nothing_arrives(server)
            child.kill()
            child.wait()
        assert 0 < len(caller.wrong(texts)) < len(texts)
        assert start_child(tmp_path, server, len(texts), request_texts=64).wait() == 0
        assert caller.wrong(texts) == []
        assert charged_twice(server.books) == {}
        assert list((tmp_path / SPOOL).iterdir()) == []

"""A job may be killed at any moment, and its next run does the rest."""

import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from scripts.openai_api.batches import BatchRules
from scripts.openai_server import Faults, OpenAiServer, charged_twice
from tagsage.embed.cache import VectorCache
from tagsage.embed.openai import batch_jobs, batch_results, batch_submit
from tagsage.embed.openai.batch_calls import Calls
from tests.embed.openai.batch_world import KEY, World, by_hand, finish, posts, some_texts

ROOT = Path(__file__).parents[3]

# Four jobs, 160 lines.
TEXTS = 10_000

PROGRAM = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from batch_world import World, some_texts
from tagsage.embed.openai import pacing
from tagsage.embed.openai.batch_files import JobLimits
pacing.FIRST_PAUSE_S = 0.02
world = World(Path(sys.argv[3]), sys.argv[4], some_texts(int(sys.argv[5])))
world = world.but(limits=JobLimits(texts=2_500, line_texts=64))
print("ready", flush=True)
for key in world.submit():
    while not world.poll(key).finished:
        time.sleep(0.01)
    world.take(key)
world.online()
"""


class KilledError(BaseException):
    """Nobody catches it, as nobody catches SIGKILL."""


def killed_at(patch, owner, name, *, after) -> None:
    """Let a function end the program, before or after it does its work."""
    original = getattr(owner, name)

    def ends(*args, **kwargs):
        if after:
            original(*args, **kwargs)
        raise KilledError

    patch.setattr(owner, name, ends)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (batch_submit, "write_job"),
        (batch_submit, "_write_down"),
        (batch_submit, "add_entry"),
        (Calls, "upload_once"),
        (Calls, "create_once"),
        (batch_jobs, "_submitted"),
        (batch_jobs, "_note_status"),
        (Calls, "download"),
        (VectorCache, "put"),
        (batch_results, "let_go"),
        (batch_results, "_tidy"),
        (Calls, "delete_file"),
    ],
)
def test_a_run_that_ends_at_any_step_is_finished_by_the_next(tmp_path, owner, name, after):
    with by_hand() as server:
        world = World(tmp_path, server.base_url, some_texts(50))

        def run() -> None:
            for key in world.submit():
                while not world.poll(key).finished:
                    finish(server)
                world.take(key)

        with pytest.MonkeyPatch.context() as patch:
            killed_at(patch, owner, name, after=after)
            with pytest.raises(KilledError):
                run()
        with pytest.MonkeyPatch.context() as patch:
            # Perhaps all that was left to do needs no such step any more.
            killed_at(patch, owner, name, after=after)
            with suppress(KilledError):
                run()
        run()
        world.assert_right()
        assert world.claims() == 0
        assert posts(server, "batches") == 2
        assert posts(server, "files") == 2
        assert world.spent().tokens == server.books.tokens
        assert world.spent().lost_requests == 0
        assert not charged_twice(server.books, strict=True)
        assert not [path for path in (tmp_path / "jobs").iterdir() if path.is_dir()]


@pytest.mark.slow
def test_a_run_of_10_000_texts_killed_five_times_pays_for_none_twice(tmp_path):
    faults = Faults(
        {
            "upload": {"500": 0.05, "reset_after": 0.1, "truncated_body": 0.05},
            "batch_create": {"429_ms": 0.05, "reset_after": 0.1, "garbage": 0.05},
            "batches": {"503": 0.05, "reset_before": 0.05},
            "files": {"500": 0.05},
            "content": {"reset_midway": 0.1, "truncated_body": 0.1},
            "batch_line": {"500": 0.03, "missing_item": 0.03, "wrong_order": 0.3, "nan": 0.03},
        },
        seed=1,
        retry_after_s=0.05,
    )
    moments = random.Random(1)
    rules = BatchRules(seconds={"in_progress": 0.05})
    with OpenAiServer(api_key=KEY, faults=faults, batches=rules) as server:
        world = World(tmp_path, server.base_url, some_texts(TEXTS))
        arguments = [
            *(sys.executable, "-c", PROGRAM, str(ROOT), str(Path(__file__).parent)),
            *(str(tmp_path), server.base_url, str(TEXTS)),
        ]
        kills = 0
        while True:
            with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
                process.stdout.readline()
                if kills < 5:
                    time.sleep(moments.uniform(0, 0.5))
                    process.send_signal(signal.SIGKILL)
                status = process.wait()
            kills += status == -signal.SIGKILL
            if status == 0:
                break
            assert status == -signal.SIGKILL
        assert kills == 5
        world.assert_right()
        assert world.claims() == 0
        # Not strictly: an answer that lacks its last vector is not trusted at all.
        assert not charged_twice(server.books)
        assert len(server.books.texts()) == TEXTS

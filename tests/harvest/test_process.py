"""The crawl's process: what it is told, what it is not, and how it ends with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tagsage.errors import NonRetryableError, TagsageError
from tagsage.harvest.config import HarvestConfig
from tagsage.harvest.database import HarvestDatabase, alone
from tagsage.harvest.process import environment, harvest
from tests.harvest import web
from tests.harvest.web import Site, answer, feed

CONFIG = HarvestConfig("me@example.com", delay_s=0.0, attempts=3, timeout_s=30.0)
LIST = "https://medium.com/@a/list/nlp-0123456789ab"
FEED = "https://medium.com/feed/@a"
# Harvests a feed and prints how it ended.
PARENT = """
import sys
from pathlib import Path
from tagsage.harvest.config import HarvestConfig
from tagsage.harvest.process import harvest
config = HarvestConfig("me@example.com", delay_s=0.0, attempts=1, timeout_s=30.0)
print(harvest(Path(sys.argv[1]), sys.argv[2:], config).outcome)
"""


@pytest.fixture
def site():
    with Site() as found:
        yield found


def until(condition: Callable[[], object]) -> None:
    """Wait for something that comes sooner or later."""
    while not condition():
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):
            found += map(int, (task / "children").read_text().split())
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def start(folder: Path, *seeds: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PARENT, str(folder), *seeds]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("seeds", "changes", "match"),
    [
        ([FEED], {"contact": ""}, "no contact is set; give a mail address or the URL of a page"),
        ([FEED], {"contact": "me"}, "The contact 'me' is neither a mail address nor an http"),
        ([FEED], {"contact": "me@example.com\r\nCookie: a"}, "is neither a mail address nor"),
        ([LIST, FEED], {}, r"Pages .* \(1\): .* needs your consent .*feeds need none"),
        ([FEED], {"delay_s": 0.5}, "delay of 0.5 s is too short; hosts of others"),
        (
            ["ftp://a", "x"],
            {},
            "No seed can be harvested; the first: it is no http or https address",
        ),
    ],
)
def test_a_harvest_that_may_not_begin_says_why_and_asks_nobody(tmp_path, seeds, changes, match):
    config = replace(HarvestConfig("me@example.com"), **changes)
    with pytest.raises(NonRetryableError, match=match):
        harvest(tmp_path / "harvest", seeds, config)
    assert not (tmp_path / "harvest").exists()


def test_a_host_that_is_asked_for_must_be_one(tmp_path):
    with pytest.raises(NonRetryableError, match="'a b' is no host: it holds spaces"):
        harvest(tmp_path, [], CONFIG, asked_hosts=["a b"])


def test_bad_seeds_beside_good_ones_are_set_aside_with_their_reason(tmp_path, site):
    site.pages["/feed"] = answer(200, feed("a"))
    report = harvest(tmp_path, ["mailto:me", " ", site.url("/feed")], CONFIG)
    assert (report.outcome, report.articles, report.problems) == ("done", 1, 1)
    with HarvestDatabase(tmp_path) as db:
        assert db.execute("SELECT url, reason FROM problems").fetchall() == [
            ("mailto:me", "The seed is set aside: it is no http or https address.")
        ]


def test_a_password_in_a_seed_or_a_host_is_repeated_nowhere(tmp_path, site):
    site.pages["/feed"] = answer(200, feed("a"))
    seed = "https://ann:secret@medium.com/feed"
    with pytest.raises(TagsageError, match="No seed can be harvested") as caught:
        harvest(tmp_path, [seed], CONFIG)
    assert "secret" not in str(caught.value)
    with pytest.raises(TagsageError, match=r"'\*\*\*@medium.com' is no host"):
        harvest(tmp_path, [], CONFIG, asked_hosts=["ann:secret@medium.com"])
    assert harvest(tmp_path, [seed, site.url("/feed")], CONFIG).problems == 1
    with HarvestDatabase(tmp_path) as db:
        assert db.execute("SELECT url FROM problems").fetchall() == [
            ("https://***@medium.com/feed",)
        ]
    assert not [path for path in tmp_path.iterdir() if b"secret" in path.read_bytes()]


def test_without_anything_to_do_a_harvest_is_done_at_once(tmp_path):
    report = harvest(tmp_path, [], CONFIG)
    assert (report.outcome, report.requests, report.changed) == ("done", 0, False)


def test_a_second_harvest_in_a_folder_is_refused(tmp_path):
    with alone(tmp_path), pytest.raises(TagsageError, match="Another harvest is under way in"):
        harvest(tmp_path, [], CONFIG, patience_s=0.1)


def test_a_file_that_is_no_harvest_is_told_by_its_parent(tmp_path):
    (tmp_path / "harvest.db").write_bytes(b"x" * 5000)
    with pytest.raises(TagsageError, match=r"harvest.db cannot be used .*; move it away"):
        harvest(tmp_path, [], CONFIG)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TagsageError, match=r"The harvest cannot be kept in .*file/harvest: Not a "):
        harvest(tmp_path / "file" / "harvest", [], CONFIG)


def test_a_crawl_that_dies_is_told_with_its_last_words_and_the_next_goes_on(tmp_path, site):
    site.pages["/feed"] = web.drip
    found: list[str] = []

    def end() -> None:
        until(lambda: "/feed" in site.paths)
        for child in children(os.getpid()):
            if "tagsage.harvest.crawl" in Path(f"/proc/{child}/cmdline").read_text():
                os.kill(child, signal.SIGKILL)
                found.append("killed")

    thread = threading.Thread(target=end)
    thread.start()
    with pytest.raises(TagsageError, match=r"The crawl crashed; run again .* \(none; status -9\)"):
        harvest(tmp_path, [site.url("/feed")], CONFIG)
    thread.join()
    assert found == ["killed"]
    site.pages["/feed"] = answer(200, feed("a"))
    report = harvest(tmp_path, [site.url("/feed")], CONFIG)
    assert (report.outcome, report.articles) == ("done", 1)
    assert site.paths == ["/robots.txt", "/feed", "/feed"]


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_harvest_that_is_interrupted_stops_in_the_middle_of_a_slow_page(tmp_path, site, number):
    site.pages["/feed"] = web.drip
    with start(tmp_path, site.url("/feed")) as parent:
        until(lambda: "/feed" in site.paths)
        parent.send_signal(number)
        assert parent.communicate()[0] == "interrupted\n"
        assert parent.returncode == 0
    with HarvestDatabase(tmp_path) as db:
        assert db.execute(
            "SELECT state, attempts FROM requests WHERE kind = 'feed'"
        ).fetchall() == [("waiting", 0)]
        assert db.execute("SELECT outcome, requests FROM runs").fetchall() == [("interrupted", 2)]


def test_a_second_interrupt_ends_it_at_once(tmp_path, site):
    site.pages["/feed"] = web.drip
    with start(tmp_path, site.url("/feed")) as parent:
        until(lambda: "/feed" in site.paths)
        (child,) = children(parent.pid)
        parent.send_signal(signal.SIGINT)
        time.sleep(0.2)
        parent.send_signal(signal.SIGINT)
        assert parent.communicate()[0] == ""
        assert parent.returncode
        assert not is_alive(child)


def test_a_crawl_ends_with_a_parent_that_was_killed_and_another_goes_on(tmp_path, site):
    site.pages["/feed"] = web.drip
    with start(tmp_path, site.url("/feed")) as parent:
        until(lambda: "/feed" in site.paths)
        (child,) = children(parent.pid)
        parent.kill()
        parent.wait()
        # The next one waits for the end of the crawl that is left.
        site.pages["/feed"] = answer(200, feed("a"))
        report = harvest(tmp_path, [], CONFIG)
        assert not is_alive(child)
    assert (report.outcome, report.requests, report.articles) == ("done", 1, 1)
    assert site.paths == ["/robots.txt", "/feed", "/feed"]


def test_hostile_answers_take_little_memory(tmp_path):
    pages = [web.endless_headers, web.endless, answer(200, web.bomb(200), content_encoding="gzip")]
    with ExitStack() as stack:
        sites = [stack.enter_context(Site({"/feed": page})) for page in pages]
        seeds = [site.url("/feed") for site in sites]
        code = f"{PARENT}import resource\nprint(resource.getrusage(resource.RUSAGE_CHILDREN)[2])"
        command = [sys.executable, "-c", code, str(tmp_path), *seeds]
        done = subprocess.run(command, capture_output=True, text=True)
    outcome, kilobytes = done.stdout.split("\n")[:2]
    assert outcome == "done"
    assert int(kilobytes) < 200_000


def test_the_crawl_knows_no_secrets(monkeypatch):
    secrets = (
        *("OPENAI_API_KEY", "NEO4J_PASSWORD", "AIRFLOW_CONN_X", "AWS_SECRET_ACCESS_KEY"),
        *("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "NEO4J_AUTH", "DATABASE_URL", "PGPASS", "X_PATH"),
    )
    needed = ("PATH", "PYTHONPATH", "LC_ALL", "https_proxy", "NO_PROXY", "SSL_CERT_FILE", "TZ")
    for name in secrets:
        monkeypatch.setenv(name, "secret")
    for name in needed:
        monkeypatch.setenv(name, "needed")
    told = environment()
    assert "secret" not in told.values()
    assert {name: told.get(name) for name in needed} == dict.fromkeys(needed, "needed")


def test_the_parent_loads_no_scrapy_and_the_crawl_nothing_heavy():
    for module, strangers in [
        ("process", {"scrapy", "twisted", "pandas", "numpy", "jax", "mlflow"}),
        ("crawl", {"pandas", "numpy", "jax", "mlflow", "sklearn", "airflow"}),
    ]:
        code = f"import sys, tagsage.harvest.{module}; print(*{strangers!r} & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (done.stdout.strip(), done.stderr) == ("", "")

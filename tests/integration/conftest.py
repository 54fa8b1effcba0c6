"""A small real corpus, and the project's own programs run as a user runs them."""

from __future__ import annotations

import csv
import gzip
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.neo4j_server import free_ports
from tagsage.files import locked

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
BUNDLED = ROOT / "data" / "debian-packages"

ARTICLES_KEPT = 2400
SETTINGS = {
    "min_tag_articles": "40",
    "lsa_dimensions": "32",
    "graphsage_dimensions": "16",
    "graphsage_epochs": "2",
    "candidates": "words:linear,words+list_ids+author_ids:linear,text+graphsage:ovr_logistic,"
    "text+lists:mlp",
}
# Two candidates that are compared in every scenario, and whose predictions are explained.
GRAPH = "text+lists+labels+authors+fastrp:ovr_logistic"
COMPARED = {
    "candidates": f"text:ovr_logistic,{GRAPH}",
    "splits": "2",
    "learning_shares": ".5",
    "min_tag_articles": "15",
    "fastrp_dimensions": "32",
}
HOSTILE = "https://packages.example/hostile"
HOSTILE_TITLE = (
    "<script>alert(1)</script> [red]\x1b[2J \u202egnp.exe 🎉 'quoted\" game puzzle board"
)
STUB = "https://packages.example/only-in-a-list"
# What the finished run said.
SAID = "said.log"


@dataclass(frozen=True)
class SmallCorpus:
    """Two CSV files cut from the bundled corpus."""

    articles: Path
    lists: Path


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory) -> SmallCorpus:
    folder = tmp_path_factory.mktemp("small-corpus")
    with gzip.open(BUNDLED / "articles.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    # Every 26th article, so that all the alphabet is there; with tags and without.
    header, rows = rows[0], rows[1 :: (len(rows) // ARTICLES_KEPT)]
    kept = {row[0] for row in rows}
    articles, lists = folder / "articles.csv", folder / "lists.csv"
    with articles.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    with (
        gzip.open(BUNDLED / "lists.csv.gz", "rt", encoding="utf-8", newline="") as source,
        lists.open("w", encoding="utf-8", newline="") as file,
    ):
        reader = csv.reader(source)
        writer = csv.writer(file)
        writer.writerow(next(reader))
        writer.writerows(row for row in reader if row[1] in kept)
    return SmallCorpus(articles, lists)


def thinned(corpus: SmallCorpus, folder: Path, *, every: int) -> SmallCorpus:
    """Write every so many articles of a corpus, and their places in lists, to a folder."""
    fewer = SmallCorpus(folder / "articles.csv", folder / "lists.csv")
    header, *rows = _rows(corpus.articles)
    _write_rows(fewer.articles, [header, *rows[::every]])
    kept = {row[0] for row in rows[::every]}
    header, *rows = _rows(corpus.lists)
    _write_rows(fewer.lists, [header, *(row for row in rows if row[1] in kept)])
    return fewer


def _rows(file: Path) -> list[list[str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.reader(opened))


def _write_rows(file: Path, rows: list[list[str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened).writerows(rows)


def environment(**extra: str) -> dict[str, str]:
    """Return this process's environment without settings of its own, plus `extra`."""
    ours = ("TAGSAGE_", "AIRFLOW_", "MLFLOW_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, **extra}


def run_tagsage(
    *arguments: str | Path, timeout: float = 1200, **extra: str
) -> subprocess.CompletedProcess[str]:
    """Run the console script in a clean process, away from the checkout."""
    return subprocess.run(
        [str(BIN / "tagsage"), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd="/",
        env=environment(**extra),
        timeout=timeout,
        check=False,
    )


def run_in_process(*arguments: str | Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in this process: what it imports is imported once for all tests."""
    from typer.testing import CliRunner

    from tagsage.cli import app

    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    variables: dict[str, str | None] = dict.fromkeys(os.environ.keys() - environment().keys())
    try:
        with warnings.catch_warnings():
            # In a process of its own a warning of some library ends nothing.
            warnings.simplefilter("ignore")
            result = CliRunner().invoke(
                app, [str(part) for part in arguments], env=variables | extra
            )
    finally:
        root.handlers = handlers
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return subprocess.CompletedProcess(
        list(map(str, arguments)), result.exit_code, result.stdout, result.stderr
    )


def run_arguments(corpus: SmallCorpus, workspace: Path, **settings: str) -> list[str]:
    """Return the arguments of `tagsage run` on a corpus with the small settings."""
    pairs = [f"{name}={value}" for name, value in {**SETTINGS, **settings}.items()]
    return [
        *("run", "--articles", str(corpus.articles), "--lists", str(corpus.lists)),
        *("--workspace", str(workspace)),
        *(part for pair in pairs for part in ("--set", pair)),
    ]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Return a function that fills a folder once for all of xdist's workers, which only read it."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def folder_of(name: str, make: Callable[[Path], None]) -> Path:
        folder, made = root / name, root / f"{name}.made"
        with locked(root / f"{name}.lock"):
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                made.touch()
        return folder

    return folder_of


@pytest.fixture(scope="session")
def finished_run(small_corpus, made_once) -> Path:
    """Return the workspace of an undisturbed run, with what it said; tests only read it."""

    def make(workspace: Path) -> None:
        done = run_tagsage(*run_arguments(small_corpus, workspace))
        assert done.returncode == 0, done.stderr
        (workspace / SAID).write_text(done.stderr, encoding="utf-8")

    return made_once("finished", make)


@pytest.fixture(scope="session")
def compared_run(small_corpus, made_once) -> Path:
    """Return the workspace of a run with every scenario, with what it printed; tests only read it.

    Its corpus has a hostile title, and an article of which only the address is known.
    """

    def make(workspace: Path) -> None:
        corpus = SmallCorpus(workspace / "A.csv", workspace / "L.csv")
        shutil.copyfile(small_corpus.articles, corpus.articles)
        shutil.copyfile(small_corpus.lists, corpus.lists)
        with corpus.articles.open("a", encoding="utf-8", newline="") as file:
            row = [HOSTILE, HOSTILE_TITLE, "x" * 10_000, "", "Ann", "[]"]
            csv.writer(file).writerow(row)
        with corpus.lists.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("games-puzzle", HOSTILE), ("games-puzzle", STUB)])
        (workspace / "w").mkdir()
        done = run_in_process(*run_arguments(corpus, workspace / "w", **COMPARED))
        assert done.returncode == 0, done.stderr
        (workspace / "w" / SAID).write_text(done.stdout, encoding="utf-8")

    return made_once("compared", make) / "w"


def scores_of(leaderboard: Path) -> list[dict[str, str]]:
    """Return the leaderboard's rows without the columns that hold times."""
    with leaderboard.open(encoding="utf-8", newline="") as file:
        return [
            {name: value for name, value in row.items() if not name.endswith("_seconds")}
            for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="session")
def prepared_home(made_once):
    """Prepare an Airflow as the Makefile does; tests take copies of it by `copied_home`."""

    def make(home: Path) -> None:
        done = subprocess.run(
            ["make", f"{home}/.ready"],
            cwd=ROOT,
            env=environment(AIRFLOW_HOME=str(home)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return made_once("prepared-airflow", make)


def copied_home(prepared: Path, home: Path) -> Path:
    """Make another home with the database of a prepared one; that is all that is not its own."""
    home.mkdir()
    for name in ("airflow.db", ".ready"):
        shutil.copyfile(prepared / name, home / name)
    return home


@pytest.fixture(scope="session")
def airflow_home(prepared_home, tmp_path_factory):
    """Return the home of an Airflow of this worker's own."""
    return copied_home(prepared_home, tmp_path_factory.mktemp("homes") / "airflow")


NOTIFIER = """
import json, os
from airflow.sdk import BaseNotifier

class FileNotifier(BaseNotifier):
    template_fields = ("text", "html")

    def __init__(self, name, text="", html="", **kwargs):
        super().__init__(**kwargs)
        self.name, self.text, self.html = name, text, html

    def notify(self, context):
        if self.name == "broken":
            raise RuntimeError("the chat is away, password=hush")
        with open(os.path.join(os.path.dirname(__file__), self.name), "a") as file:
            file.write(json.dumps({"text": self.text, "html": self.html}) + chr(10))
"""


def notifying(folder: Path, **notified: str) -> dict[str, str]:
    """Return an environment in which a notifier writes messages to files of a folder.

    `notified` maps ``failure`` and ``success`` to the names of files; a notifier that always breaks
    comes before each.
    """
    folder.mkdir(exist_ok=True)
    (folder / "file_notifier.py").write_text(NOTIFIER, encoding="utf-8")
    variables = {"PYTHONPATH": str(folder)}
    for event, name in notified.items():
        told = {"text": "{{ tagsage_text }}", "html": "{{ tagsage_html }}"}
        variables[f"TAGSAGE_NOTIFY_ON_{event.upper()}"] = json.dumps([
            {"notifier": "file_notifier.FileNotifier", "arguments": {"name": "broken"}},
            {
                "notifier": "file_notifier.FileNotifier",
                "arguments": {"name": name, **told},
            },
        ])
    return variables


def messages_in(file: Path) -> list[dict[str, str]]:
    """Return the messages that the notifier of :func:`notifying` has sent to a file."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def make_environment(**extra):
    """Return the environment that the Makefile gives what it starts, with `extra` over ours."""
    printed = subprocess.run(
        ["make", "--no-print-directory", "-f", "-", "variables"],
        input="include Makefile\nvariables:\n\t@env\n",
        cwd=ROOT,
        env=environment(**extra),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    pairs = (line.partition("=") for line in printed.splitlines() if "=" in line)
    return {name: value for name, _, value in pairs}


def make_variables(**extra):
    """Return what of the Makefile's environment is for Airflow, MLflow and us."""
    return {
        name: value
        for name, value in make_environment(**extra).items()
        if name.startswith(("AIRFLOW", "MLFLOW", "TAGSAGE"))
    }


@contextmanager
def serving(folder: Path, **settings: str):
    """Run `make up` on free ports; yield what it printed: URLs, user, password.

    It makes a new Airflow in `folder`, or takes the one that `copied_home` has put there.
    """
    airflow_port, mlflow_port = free_ports(2)
    log = folder / "up.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["make", "up"],
            cwd=ROOT,
            env=environment(
                AIRFLOW_HOME=str(folder / "airflow"),
                AIRFLOW_PORT=str(airflow_port),
                MLFLOW_PORT=str(mlflow_port),
                TAGSAGE_WORKSPACE=str(folder / "workspace"),
                # The DAGs' files do not change under a test; by default they are read each 30 s.
                AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL="300",
                **settings,
            ),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 600
        while "MLflow   http" not in (said := log.read_text(encoding="utf-8")):
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(1)
        found = re.search(r"Airflow  (\S+)   log in as (\S+) with password (\S+)", said)
        assert found, said
        yield {
            "airflow": found[1],
            "user": found[2],
            "password": found[3],
            "mlflow": f"http://127.0.0.1:{mlflow_port}",
            "workspace": folder / "workspace",
        }
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=90)
    assert "Stopping" in log.read_text(encoding="utf-8")
    for port in (airflow_port, mlflow_port):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, "a server outlived make up"

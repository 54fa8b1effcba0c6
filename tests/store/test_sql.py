"""The SQLite file: damage, several processes, kills."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap

import pandas as pd
import pytest

from tagsage.errors import TagsageError
from tagsage.store.base import snapshot_of
from tagsage.store.database import POSTGRES, sqlite_url
from tagsage.store.sql import SqlStore


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tagsage.db"


def open_file(path):
    return SqlStore(sqlite_url(path))


def start(code, *arguments):
    """Run Python code in a process of its own."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process):
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output


def test_what_is_no_database_of_ours_is_one_sentence(path, tmp_path):
    path.write_text("story,title\n" * 1000)
    with pytest.raises(TagsageError, match="is not an SQLite database; name another file"):
        open_file(path)
    with pytest.raises(TagsageError, match="cannot be opened"):
        open_file(tmp_path)
    with pytest.raises(TagsageError, match="cannot be opened: "):
        open_file(path / "below" / "a.db")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE articles (x)")
    other.close()
    with pytest.raises(TagsageError, match="does not have the tables of this version"):
        open_file(tmp_path / "other.db")


def test_a_damaged_file_is_one_sentence(path, make_corpus, some_articles):
    with open_file(path) as store:
        store.load(make_corpus(*some_articles(500)))
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    path.write_bytes(bytes(content))
    with pytest.raises(TagsageError, match="is damaged; restore it"), open_file(path) as store:
        store.snapshot()


def test_a_story_in_two_parts_is_refused_and_the_earlier_predictions_stay(path, make_corpus):
    rows = [("https://a.example/a", tag, 0.5, 1) for tag in "xyz"]
    frame = pd.DataFrame(rows, columns=["story", "tag", "score", "assigned"])
    with open_file(path) as store:
        store.load(make_corpus({"a": ("A", [])}, []))
        store.write_predictions(frame[:1], run_id="r", model_version="1")
        with pytest.raises(ValueError, match="a story is in two parts"):
            store.write_predictions([frame[1:2], frame[2:]], run_id="s", model_version="1")
        assert store.read_predictions()["tag"].tolist() == ["x"]


def test_readers_do_not_wait_for_a_writer_and_a_second_writer_not_forever(
    path, make_corpus, monkeypatch
):
    monkeypatch.setattr("tagsage.store.database.WAIT_S", 0.2)
    corpus = make_corpus({"a": ("A", [])}, [("l", "a")])
    with open_file(path) as store, open_file(path) as other:
        store.load(corpus)
        with store.database.writing() as connection:
            connection.exec_driver_sql("DELETE FROM articles")
            assert other.snapshot().digest == snapshot_of(corpus).digest
            with pytest.raises(TagsageError, match="is being written by another process; try aga"):
                other.load(corpus)


READ = """
    import sys
    from pathlib import Path
    from tagsage.store.open import open_store
    for _ in range(8):
        with open_store("sqlite", sqlite_path=Path(sys.argv[1])) as store:
            print(store.snapshot().digest)
"""
LOAD = """
    import sys
    from pathlib import Path
    from tagsage.corpus.csv_source import read_csv_corpus
    from tagsage.store.open import open_store
    for _ in range(2):
        for paths in (sys.argv[2:4], sys.argv[4:6]):
            with open_store("sqlite", sqlite_path=Path(sys.argv[1])) as store:
                store.load(read_csv_corpus(*paths, max_rejected_share=0))
"""


def test_processes_that_make_the_file_load_and_read_at_once_see_whole_corpora_only(
    path, make_corpus, write_corpus, some_articles
):
    one, two = some_articles(80, 1), some_articles(80, 2)
    digests = {snapshot_of(make_corpus(*some, "x")).digest for some in (one, two)}
    with open_file(path.with_name("empty.db")) as store:
        digests.add(store.snapshot().digest)
    paths = [*write_corpus(*one, "one"), *write_corpus(*two, "two")]
    processes = [start(LOAD, path, *paths), start(LOAD, path, *paths), start(READ, path)]
    *_, read = map(end, processes)
    assert set(read.split()) <= digests
    with open_file(path) as store:
        assert store.snapshot().digest in digests


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from sqlalchemy import Connection
    from tagsage.corpus.csv_source import read_csv_corpus
    from tagsage.store.open import open_store
    left = int(sys.argv[1])
    def counted(execute):
        def counting(*arguments, **options):
            global left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return execute(*arguments, **options)
        return counting
    with open_store("sqlite", sqlite_path=Path(sys.argv[2])) as store:
        for name in ("execute", "exec_driver_sql"):
            setattr(Connection, name, counted(getattr(Connection, name)))
        store.load(read_csv_corpus(*sys.argv[3:5], max_rejected_share=0))
"""


@pytest.mark.parametrize("queries", [9, 16])
def test_a_killed_load_leaves_the_old_corpus_and_is_run_again(
    path, make_corpus, write_corpus, some_articles, queries
):
    old, new = make_corpus(*some_articles(60, 1), "old"), some_articles(60, 2)
    with open_file(path) as store:
        store.load(old)
    killed = start(KILLED, queries, path, *write_corpus(*new, "new"))
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    corpus = make_corpus(*new, "new")
    with open_file(path) as store:
        assert store.snapshot().digest == snapshot_of(old).digest
        store.load(corpus)
        assert store.snapshot().digest == snapshot_of(corpus).digest


@pytest.mark.services
def test_a_postgres_that_is_away_or_refuses_us_is_one_sentence(postgres, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "s3cret-of-this-test")
    for name, value in (("PGDATABASE", "nowhere"), ("PGPORT", "1")):
        monkeypatch.setenv(name, value)
        with pytest.raises(TagsageError, match=r"cannot be used: .*; check PGHOST") as error:
            SqlStore(POSTGRES)
        assert os.environ["PGPASSWORD"] not in str(error.value)

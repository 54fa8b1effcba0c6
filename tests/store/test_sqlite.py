"""The SQLite file: schema, damage, several processes, kills."""

import fcntl
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from pandas import DataFrame

from tagsage.errors import TagsageError
from tagsage.store import schema
from tagsage.store.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tagsage.db"


def start(code, *arguments):
    """Run Python code in a process of its own."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process):
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output


def query(path, statement):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def test_a_new_file_is_in_wal_mode_with_the_newest_schema(path):
    SqliteStore(path).close()
    assert query(path, "PRAGMA journal_mode") == [("wal",)]
    assert query(path, "PRAGMA user_version") == [(len(schema.MIGRATIONS),)]


def test_an_older_file_is_migrated_and_keeps_what_it_holds(path, monkeypatch, make_corpus):
    with SqliteStore(path) as store:
        store.load(make_corpus({"a": ("A", [])}, [("l", "a")]))
        before = store.snapshot().digest
    newer = (*schema.MIGRATIONS, ("CREATE TABLE later (x)", "INSERT INTO later VALUES (1)"))
    monkeypatch.setattr(schema, "MIGRATIONS", newer)
    for _ in range(2):
        with SqliteStore(path) as store:
            assert store.snapshot().digest == before
        assert query(path, "SELECT * FROM later") == [(1,)]


def test_a_migration_that_fails_leaves_the_file_as_it_was(path, monkeypatch):
    SqliteStore(path).close()
    newer = (*schema.MIGRATIONS, ("CREATE TABLE later (x)", "INSERT INTO nowhere VALUES (1)"))
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", newer)
        with pytest.raises(TagsageError, match="no such table: nowhere"):
            SqliteStore(path)
    SqliteStore(path).close()
    assert query(path, "SELECT name FROM sqlite_schema WHERE name = 'later'") == []


def test_a_file_of_a_newer_version_is_refused(path, monkeypatch):
    SqliteStore(path).close()
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
    with pytest.raises(TagsageError, match=r"written by a newer tagsage \(schema 3, .*knows 1\)"):
        SqliteStore(path)


def test_another_programs_database_is_refused_and_left_alone(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(TagsageError, match="is another program's database; name another file"):
        SqliteStore(path)
    assert path.read_bytes() == before


def test_what_is_no_database_is_told_in_one_sentence(path, tmp_path):
    path.write_text("story,title\n" * 1000)
    with pytest.raises(TagsageError, match="is not an SQLite database; name another file"):
        SqliteStore(path)
    with pytest.raises(TagsageError, match="cannot be opened; it must be a file"):
        SqliteStore(tmp_path)
    with pytest.raises(TagsageError, match="cannot be opened: "):
        SqliteStore(path / "below" / "a.db")


def test_a_damaged_file_is_told_in_one_sentence(path, make_corpus, some_articles):
    with SqliteStore(path) as store:
        store.load(make_corpus(*some_articles(2000)))
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    path.write_bytes(bytes(content))
    with SqliteStore(path) as store, pytest.raises(TagsageError, match="is damaged; restore it"):
        store.snapshot()


def test_a_snapshot_does_not_wait_forever_for_a_load(path, monkeypatch):
    monkeypatch.setattr("tagsage.store.database.LOAD_S", 0.2)
    with SqliteStore(path) as store, Path(f"{path}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TagsageError, match=r"loading into .* for more than 0\.2 s"):
            store.snapshot()


def test_a_transaction_of_another_process_is_not_waited_for_forever(path, make_corpus):
    with SqliteStore(path) as store:
        store._database.execute("PRAGMA busy_timeout = 100")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TagsageError, match="is held by another process; try again"):
            store.load(make_corpus({"a": ("A", [])}))
        other.close()


def test_the_store_opens_while_another_process_loads(path):
    SqliteStore(path).close()
    with Path(f"{path}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with SqliteStore(path) as store:
            assert store.counts()["articles"] == 0


# -- several processes ---------------------------------------------------------------------

LOAD = """
    import sys
    from pathlib import Path
    from tagsage.corpus.csv_source import read_csv_corpus
    from tagsage.store import sqlite
    sqlite.BATCH = 20
    corpora = [read_csv_corpus(*sys.argv[i : i + 2], max_rejected_share=0) for i in (2, 4)]
    with sqlite.SqliteStore(Path(sys.argv[1])) as store:
        for turn in range(6):
            store.load(corpora[turn % 2])
"""
READ = """
    import sys
    from pathlib import Path
    from tagsage.store.sqlite import SqliteStore
    with SqliteStore(Path(sys.argv[1])) as store:
        print(*{store.snapshot().digest for _ in range(40)})
"""


def test_processes_that_load_and_read_at_once_see_whole_corpora_only(
    path, make_corpus, write_corpus, some_articles
):
    files, digests = [], set()
    for number in range(2):
        articles = some_articles(300, number)
        files.append(write_corpus(*articles, f"corpus{number}"))
        with SqliteStore(path.with_name(f"clean{number}.db")) as clean:
            clean.load(make_corpus(*articles, f"corpus{number}"))
            digests.add(clean.snapshot().digest)
    with SqliteStore(path) as store:  # the readers begin with an empty store
        empty = store.snapshot().digest
    # Both end with the same corpus, so that the end is known whoever is last.
    writers = [start(LOAD, path, *files[0], *files[1]) for _ in range(2)]
    readers = [start(READ, path) for _ in range(2)]
    for writer in writers:
        end(writer)
    for reader in readers:
        assert set(end(reader).split()) <= digests | {empty}
    with SqliteStore(path) as store, SqliteStore(path.with_name("clean1.db")) as clean:
        assert store.snapshot().digest == clean.snapshot().digest


def test_processes_that_make_the_file_at_once_all_succeed(path):
    code = """
        import sys
        from pathlib import Path
        from tagsage.store.sqlite import SqliteStore
        SqliteStore(Path(sys.argv[1])).close()
    """
    for process in [start(code, path) for _ in range(4)]:
        end(process)


# -- kills ---------------------------------------------------------------------------------

KILLED = """
    import os, signal, sys
    from pathlib import Path
    from tagsage.corpus.csv_source import read_csv_corpus
    from tagsage.store import database, sqlite
    sqlite.BATCH = 20
    left = int(sys.argv[2])
    execute = database.Database.execute
    def counted(self, statement, values=()):
        global left
        left -= statement == "COMMIT"
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(self, statement, values)
    database.Database.execute = counted
    with sqlite.SqliteStore(Path(sys.argv[1])) as store:
        store.load(read_csv_corpus(*sys.argv[3:5], max_rejected_share=0))
"""


@pytest.mark.parametrize("commits", [0, 2, 6, 11])
def test_a_load_that_is_killed_and_run_again_ends_like_an_undisturbed_one(
    path, make_corpus, write_corpus, some_articles, commits
):
    old, new = some_articles(100, 1), some_articles(100, 2)
    with SqliteStore(path) as store:
        store.load(make_corpus(*old, "old"))
        before = store.snapshot().digest
    with SqliteStore(path.with_name("clean.db")) as clean:
        clean.load(make_corpus(*new, "new"))
        after = clean.snapshot().digest
    process = start(KILLED, path, commits, *write_corpus(*new, "new"))
    process.communicate(timeout=120)
    assert process.returncode == -9
    with SqliteStore(path) as store:
        if commits == 0:
            assert store.snapshot().digest == before
        else:
            with pytest.raises(TagsageError, match="was interrupted; load the corpus again"):
                store.snapshot()
        store.load(make_corpus(*new, "new"))
        assert store.snapshot().digest == after


def test_a_file_of_the_first_schema_keeps_the_predictions_of_its_articles(
    path, monkeypatch, make_corpus
):
    """Predictions named their story by text then, whether the store held it or not."""
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        with SqliteStore(path) as store:
            store.load(make_corpus({"a": ("A", []), "b": ("B", [])}))
    connection = sqlite3.connect(path)
    connection.executescript("""
        INSERT INTO prediction_sets VALUES (3, 'run', '7', 1);
        INSERT INTO prediction_stories VALUES
            (3, 0, 'https://a.example/gone'), (3, 1, 'https://a.example/b');
        INSERT INTO prediction_sets VALUES (4, 'killed', '8', 0);
        INSERT INTO prediction_stories VALUES (4, 0, 'https://a.example/a');
        INSERT INTO prediction_tags VALUES (4, 0, 'x');
        INSERT INTO predictions VALUES (4, 0, 0, 0, 0.75, 1);
        INSERT INTO prediction_tags VALUES (3, 0, 'x'), (3, 1, 'y');
        INSERT INTO predictions VALUES (3, 0, 0, 1, 0.5, 1), (3, 1, 1, 0, 0.25, 0);
    """)
    connection.close()
    with SqliteStore(path) as store:
        assert store.read_predictions().to_dict("records") == [
            {
                "story": "https://a.example/b",
                "tag": "x",
                "score": 0.25,
                "assigned": 0,
                "model_version": "7",
                "run_id": "run",
            }
        ]
        assert store.counts()["predictions"] == 1


def test_predictions_of_an_article_that_leaves_while_they_are_written_are_left_out(
    path, make_corpus, monkeypatch
):
    both = make_corpus({"a": ("A", []), "b": ("B", [])})
    frame = DataFrame({
        "story": ["https://a.example/a", "https://a.example/b"],
        "tag": ["x", "y"],
        "score": [0.5, 0.25],
        "assigned": [1, 0],
    })
    with SqliteStore(path) as writer, SqliteStore(path) as loader:
        writer.load(both)

        def load(items, *_):
            loader.load(make_corpus({"b": ("B", [])}, [], "fewer"))
            yield from items

        monkeypatch.setattr(
            "tagsage.store.sqlite_predictions.track",
            lambda items, what: load(items) if "predictions" in what else iter(items),
        )
        writer.write_predictions(frame, run_id="r", model_version="1")
        assert writer.read_predictions()["tag"].tolist() == ["y"]
        assert writer.counts()["predictions"] == 1


def test_rows_that_ended_are_removed_a_few_articles_at_a_time(path, make_corpus, monkeypatch):
    monkeypatch.setattr("tagsage.store.sqlite_predictions.ARTICLES", 2)
    stories = [f"https://a.example/{number}" for number in range(5)]
    frame = DataFrame({"story": stories, "tag": "x", "score": 0.5, "assigned": 1})
    statements = []
    with SqliteStore(path) as store:
        store.load(make_corpus({str(number): ("", []) for number in range(5)}))
        store.write_predictions(frame, run_id="a", model_version="1")
        store._database._open().set_trace_callback(statements.append)
        store.write_predictions(frame.assign(score=0.7), run_id="b", model_version="2")
        assert set(store.read_predictions()["score"]) == {0.7}
    ending = [
        said.split()[0]
        for said in statements
        if said.startswith(("DELETE FROM predictions", "COMMIT"))
    ]
    first = ending.index("DELETE")
    assert ending[first : first + 6] == ["DELETE", "COMMIT"] * 3
    assert query(path, "SELECT count(*) FROM predictions") == [(5,)]

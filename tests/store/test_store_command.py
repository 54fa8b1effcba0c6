"""``tagsage store``: counts, and copies that lose nothing."""

import pytest
from typer.testing import CliRunner

from tagsage.cli import app
from tagsage.errors import TagsageError
from tagsage.store.copy import copy_store
from tagsage.store.database import sqlite_url
from tagsage.store.neo4j import Neo4jStore
from tagsage.store.sql import SqlStore
from tests.store.test_store_contract import ARTICLES, MEMBERS, predictions


def sql_store(path):
    return SqlStore(sqlite_url(path))


KEPT = ARTICLES | {str(i): (f"Title {i}", ["z"]) for i in range(5)}


@pytest.fixture
def tagsage(tmp_path, monkeypatch):
    """Run the command line in an empty folder; return exit status and what it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEO4J_URI", raising=False)

    def run(*arguments):
        result = CliRunner().invoke(app, ["store", *arguments])
        return result.exit_code, " ".join(result.output.split())

    return run


@pytest.fixture
def neo4j(neo4j_connection, monkeypatch):
    monkeypatch.setenv("NEO4J_URI", neo4j_connection.uri)
    monkeypatch.setenv("NEO4J_USERNAME", neo4j_connection.username)
    monkeypatch.setenv("NEO4J_PASSWORD", neo4j_connection.password)
    return neo4j_connection


@pytest.fixture
def filled(tmp_path, make_corpus):
    """Return the path of an SQLite store with a corpus and predictions."""
    path = tmp_path / "filled.db"
    with sql_store(path) as store:
        store.load(make_corpus(KEPT, MEMBERS))
        store.write_predictions(predictions(7), run_id="older", model_version="6")
        store.write_predictions(predictions(9), run_id="run ü", model_version="7")
        store.write_suggestions(predictions(3), run_id="run ü", model_version="7")
    return path


def content(store):
    with store:
        return (
            store.snapshot().digest,
            store.read_predictions().fillna(-1).to_dict("records"),
            store.read_suggestions().to_dict("records"),
            store.counts(),
        )


@pytest.mark.neo4j
def test_a_corpus_that_moves_to_neo4j_and_back_is_the_same(tagsage, filled, tmp_path, neo4j):
    status, said = tagsage("copy", "--from", f"sqlite:{filled}", "--to", "neo4j")
    assert said == (
        "9 articles, 5 memberships and 9 predictions are in neo4j now "
        "(9 articles added, 0 updated, 0 removed)."
    )
    assert status == 0
    assert content(Neo4jStore(neo4j)) == content(sql_store(filled))
    assert tagsage("copy", "--from", "neo4j", "--to", "sqlite", "--workspace", "ws")[0] == 0
    assert content(sql_store(tmp_path / "ws" / "tagsage.db")) == content(sql_store(filled))
    assert content(sql_store(filled))[1]
    status, said = tagsage("counts", "--store", "neo4j")
    assert status == 0
    assert "articles │ 9" in said
    assert "predictions │ 9" in said


def test_a_copy_does_not_write_over_another_corpus_unless_it_may(
    tagsage, filled, tmp_path, make_corpus
):
    other = tmp_path / "other.db"
    with sql_store(other) as store:
        store.load(make_corpus({"x": ("X", [])}, [], "other"))
        before = store.snapshot().digest
    copying = ("copy", "--from", f"sqlite:{filled}", "--to", f"sqlite:{other}")
    assert tagsage(*copying) == (
        1,
        "The store to copy to holds another corpus or other predictions; name an empty one, or let "
        "it be replaced with --replace.",
    )
    assert content(sql_store(other))[0] == before
    assert tagsage(*copying, "--replace")[0] == 0
    assert content(sql_store(other)) == content(sql_store(filled))
    assert tagsage(*copying)[0] == 0  # the same corpus is no other


def test_predictions_of_the_target_go_only_with_replace(tmp_path, make_corpus):
    corpus = make_corpus(KEPT, MEMBERS)
    with sql_store(tmp_path / "a.db") as bare, sql_store(tmp_path / "b.db") as target:
        bare.load(corpus)
        target.load(corpus)
        target.write_predictions(predictions(), run_id="r", model_version="1")
        with pytest.raises(TagsageError, match="or other predictions; name an empty one"):
            copy_store(bare, target, replace=False)
        assert target.counts()["predictions"] > 0
        copy_store(bare, target, replace=True)
        assert target.counts()["predictions"] == 0


def test_an_empty_source_takes_nothing_from_the_target(tmp_path, make_corpus):
    with sql_store(tmp_path / "a.db") as nothing, sql_store(tmp_path / "b.db") as target:
        target.load(make_corpus(KEPT, MEMBERS))
        with pytest.raises(TagsageError, match="The store to copy from is empty; name the one"):
            copy_store(nothing, target, replace=True)
        assert target.counts()["articles"] > 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("counts",), 1, "There is no SQLite store"),
        (("copy", "--from", "sqlite:none.db", "--to", "sqlite:b.db"), 1, "none.db; name it as"),
        (("copy", "--from", "sqlite:a", "--to", "sqlite:./a"), 2, "is the store to copy from"),
        (("copy", "--from", "mysql", "--to", "sqlite"), 2, "'mysql' is not sqlite, sqlite:PATH, p"),
        (("copy", "--from", "sqlite:", "--to", "sqlite:b"), 2, "'sqlite:' is not sqlite, sqlite:"),
        (("copy", "--from", "sqlite"), 2, "Missing option '--to'"),
        (("counts", "--store", "neo4j"), 1, "No Neo4j server is named; set NEO4J_URI"),
    ],
)
def test_what_cannot_be_is_told(tagsage, arguments, status, message):
    assert tagsage(*arguments)[0] == status
    assert message in tagsage(*arguments)[1].replace(" │ │ ", " ")

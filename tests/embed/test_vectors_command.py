"""``tagsage vectors``: look into what was paid for, move it, drop it, and pay for more."""

import csv
import json
import logging
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from scripts.openai_server import BatchRules, OpenAiServer, charged_twice, expected_vectors
from tagsage.cli import app
from tagsage.corpus.csv_source import read_csv_corpus
from tagsage.embed.cache import VectorCache
from tagsage.embed.exporting import export_parquet
from tagsage.embed.text import text_hashes
from tagsage.store.database import sqlite_url
from tagsage.store.sql import SqlStore
from tagsage.workspace import Workspace

ADA, SMALL = "text-embedding-ada-002", "text-embedding-3-small"
KEY = "sk-of-the-tests-0123456789"
TITLES = ["Bread", "Roses", "Sails", "Bread"]


@pytest.fixture
def tagsage(tmp_path, monkeypatch):
    """Run `tagsage vectors …` on the workspace `w`; return exit status and what it said."""
    for name in ("NEO4J_URI", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Workspace("w").claim()
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", list(root.handlers))

    def run(*arguments):
        parts = ["vectors", *arguments, "--workspace", "w"]
        result = CliRunner().invoke(app, parts, env={"COLUMNS": "200"})
        assert isinstance(result.exception, SystemExit | None)
        return result.exit_code, " ".join(result.output.split())

    return run


@pytest.fixture
def store(tmp_path):
    """The workspace's store, with four articles; return its corpus."""
    articles, lists = tmp_path / "a.csv", tmp_path / "l.csv"
    with articles.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["story", "title", "date", "author", "tags"])
        for number, title in enumerate(TITLES):
            writer.writerow([f"https://a.example/{number}", title, "2020-01-02", "Ann", "[]"])
    lists.write_text("list,article\nl,https://a.example/0\n")
    corpus = read_csv_corpus(str(articles), str(lists), max_rejected_share=0)
    with SqlStore(sqlite_url(tmp_path / "w" / "tagsage.db")) as opened:
        opened.load(corpus)
    return corpus


def cache(tmp_path, model=ADA, dimensions=1536, folder="w/vectors/openai"):
    return VectorCache(tmp_path / folder / "cache", model, dimensions)


def fill(opened, *texts):
    opened.put(text_hashes(texts), expected_vectors(texts, opened.model_id, opened.dimensions))


def kept(opened, *texts):
    out = np.zeros((len(texts), opened.dimensions), np.float32)
    return opened.gather(text_hashes(texts), out), out


# -- look, move, drop --------------------------------------------------------------------------


def test_list_tells_models_texts_and_damage(tagsage, tmp_path):
    status, said = tagsage("list")
    assert status == 0
    assert f"lies in {tmp_path / 'w' / 'vectors' / 'openai'}." in said
    fill(cache(tmp_path), "Bread", "Roses")
    fill(cache(tmp_path, "mine/model", 8), "Bread")
    VectorCache(tmp_path / "w" / "vectors" / "lsa-1" / "cache", "lsa-x", 4).put(
        text_hashes(["a"]), np.ones((1, 4), np.float32)
    )
    status, said = tagsage("list")
    assert status == 0
    for row in (
        f"openai │ {ADA} │ 1,536 │ 2 │ 0.0 │ 1 │ 0",
        "openai │ mine/model │ 8 │ 1 │",
        "lsa │ lsa-x │ 4 │ 1 │",
    ):
        assert row in said


def test_a_cache_moves_to_another_workspace_and_folder(tagsage, tmp_path):
    fill(cache(tmp_path), "Bread", "Roses")
    assert tagsage("export", "v.parquet") == (0, f"2 texts of {ADA} are in v.parquet.")
    status, said = tagsage("import", "v.parquet", "--set", "openai_cache=team")
    assert status == 0
    assert said == (
        f"2 texts were added to {ADA} (1,536 numbers); of 2 rows 0 were there already, 0 with "
        "other numbers, which stay as they were, and 0 were rejected."
    )
    missing, vectors = kept(cache(tmp_path, folder="team"), "Bread", "Roses")
    assert missing == 0
    np.testing.assert_array_equal(vectors, expected_vectors(["Bread", "Roses"], ADA, 1536))
    assert "of 2 rows 2 were there already" in tagsage("import", "v.parquet")[1]


def test_the_studys_csv_fills_the_cache_of_its_model(tagsage, store, tmp_path):
    vectors = expected_vectors(TITLES, ADA, 1536).tolist()
    with (tmp_path / "v.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        for number in (0, 1, 9):
            writer.writerow([f"https://a.example/{number}", json.dumps(vectors[number % 4])])
    status, said = tagsage("import", "v.csv")
    assert status == 0
    assert f"2 texts were added to {ADA} (1,536 numbers); of 3 rows 0 were there" in said
    assert "and 1 were rejected. The rejected rows:" in said
    assert said.endswith("1: no article has this URL")
    listed = (tmp_path / "w" / "quarantine" / "imported-vectors.csv").read_text()
    assert "v.csv,3,rejected,no article has this URL,https://a.example/9" in listed
    assert kept(cache(tmp_path), "Bread", "Roses")[0] == 0
    # Out again: every article with that text, so that it may be published with them.
    assert tagsage("export", "w.csv.gz") == (
        0,
        f"3 articles with their vector of {ADA} are in w.csv.gz; 1 have none.",
    )
    assert "2 texts were added to m " in tagsage("import", "w.csv.gz", "--model", "m")[1]


def test_prune_only_tells_unless_it_is_told_yes(tagsage, store, tmp_path):
    fill(cache(tmp_path), "Bread", "Old")
    fill(cache(tmp_path, "m", 4), "Older")
    said = tagsage("prune")
    assert said == (
        0,
        "m (4 numbers): 1 of 1 texts would be dropped. "
        f"{ADA} (1,536 numbers): 1 of 2 texts would be dropped. "
        "Nothing was dropped: it was paid for. Add --yes to do it.",
    )
    assert kept(cache(tmp_path), "Bread", "Old")[0] == 0
    assert tagsage("prune", "--model", ADA, "--yes") == (
        0,
        f"{ADA} (1,536 numbers): 1 of 2 texts were dropped.",
    )
    assert kept(cache(tmp_path), "Bread")[0] == 0
    assert kept(cache(tmp_path), "Old")[0] == 1
    assert kept(cache(tmp_path, "m", 4), "Older")[0] == 0
    assert "1 of 1 texts were dropped" in tagsage("prune", "--model", ADA, "--all", "--yes")[1]
    assert kept(cache(tmp_path), "Bread")[0] == 1


def test_prune_says_that_a_named_folder_may_be_shared(tagsage, store, tmp_path):
    fill(cache(tmp_path, folder="team"), "Bread", "Old")
    shared = ("--set", "openai_cache=team")
    assert tagsage("prune", *shared)[1].endswith(
        "1 of 2 texts would be dropped. team may be shared: what only other workspaces use would "
        "be dropped too, and is paid for again there. "
        "Nothing was dropped: it was paid for. Add --yes to do it."
    )
    assert tagsage("prune", "--yes", *shared)[1].endswith(
        "what only other workspaces use was dropped too, and is paid for again there."
    )


def test_damaged_segments_go_only_when_named(tagsage, store, tmp_path):
    opened = cache(tmp_path)
    fill(opened, "Bread")
    aside = opened.folder / "damaged-x"
    aside.mkdir()
    assert "0 of 1 texts were dropped." in tagsage("prune", "--yes")[1]
    assert aside.exists()
    assert (
        "0 of 1 texts would be dropped, and 1 damaged segments."
        in (tagsage("prune", "--damaged")[1])
    )
    tagsage("prune", "--damaged", "--yes")
    assert not aside.exists()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("export", "v.txt"), 2, "ends neither in .parquet nor in .csv or .csv.gz"),
        (("export", "v.parquet"), 1, f"holds no vectors of {ADA}: it is empty; name a model with"),
        (("import", "none.csv"), 1, "Cannot open the vectors none.csv"),
        (("prune", "--all"), 2, "needs --model"),
        (("prune",), 1, "There is no SQLite store"),
        (("prune", "--model", "m"), 1, "holds no vectors of m: it is empty"),
        (("plan",), 1, "There is no SQLite store"),
        (("cancel", "x", "--give-up"), 1, "x"),
        (("import", "a", "--set", "openai_modell=x"), 1, "did you mean openai_model?"),
    ],
)
def test_what_cannot_be_is_told(tagsage, arguments, status, message):
    result = tagsage(*arguments)
    assert message in result[1].replace(" │ │ ", " ")
    assert result[0] == status


def test_models_and_lengths_that_are_there_are_named(tagsage, store, tmp_path):
    fill(cache(tmp_path, "m", 4), "Bread")
    assert "there are those of m; name a model" in tagsage("export", "v.parquet")[1]
    fill(cache(tmp_path, "m", 8), "Bread")
    assert tagsage("export", "v.parquet", "--model", "m") == (
        1,
        "m has vectors of 4, 8 numbers; name one length with --dimensions.",
    )
    assert tagsage("export", "v.parquet", "--model", "m", "--dimensions", "8")[0] == 0
    assert tagsage("export", "none/v.csv", "--model", "m", "--dimensions", "8") == (
        1,
        "There is no folder none; make it, or name another file.",
    )
    export_parquet(cache(tmp_path, "m", 4), tmp_path / "w.parquet")
    assert "holds vectors of m, not of x" in tagsage("import", "w.parquet", "--model", "x")[1]


# -- pay ---------------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch):
    with OpenAiServer(api_key=KEY, any_model=5, batches=BatchRules()) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        yield running


PRICED = ("--set", f"openai_prices={ADA}=1000")


def test_plan_and_dry_run_tell_the_price_and_send_nothing(tagsage, store, server, tmp_path):
    for command in (("plan",), ("embed", "--dry-run")):
        status, said = tagsage(*command, *PRICED)
        assert status == 0
        found = re.search(
            rf"3 of 3 texts have no vector of {ADA} yet: about (\d+) tokens, \$([\d.]+) at \$1000 "
            r"a million; the ceiling is \$5 and 50,000,000 tokens. Nothing was sent, and no "
            "server was asked.",
            said,
        )
        assert found
        assert float(found[2]) == pytest.approx(int(found[1]) / 1000)
    assert not server.books.charges
    assert kept(cache(tmp_path), "Bread")[0] == 1


def test_embed_pays_once_for_each_text_and_spent_tells_what(tagsage, store, server, tmp_path):
    status, said = tagsage("embed", "--run-id", "r1", *PRICED)
    assert status == 0
    assert "3 texts were embedded on line, 0 of them cut; 0 have no vector." in said
    assert "The run r1 has sent 3 texts in 1 requests so far: " in said
    texts = ["Bread", "Roses", "Sails"]
    missing, vectors = kept(cache(tmp_path), *texts)
    assert missing == 0
    np.testing.assert_allclose(vectors, expected_vectors(texts, ADA, 1536), rtol=1e-6)
    assert tagsage("embed", *PRICED)[1].endswith("There is nothing to send.")
    assert not charged_twice(server.books)
    status, said = tagsage("spent")
    assert status == 0
    assert re.search(r"│ r1 │ 1 │ 3 │ \d+ │ 0.00\d\d │ 0 │ .*│ all │ 1 │ 3 │", said)
    assert "│ other │ 0 │ 0 │ 0 │ 0.0000 │ 0 │" in tagsage("spent", "--run-id", "other")[1]
    assert KEY not in said


def test_embed_stops_at_the_ceiling(tagsage, store, server):
    status, said = tagsage("embed", "--set", "openai_max_tokens=3")
    assert status == 1
    assert "could cross its ceiling" in said
    assert not server.books.charges


def test_refused_texts_are_sent_again_after_retry(tagsage, store, server, tmp_path):
    server.faults.texts["Roses"] = "400"
    assert "2 texts were embedded on line, 0 of them cut; 1 have no" in tagsage("embed")[1]
    del server.faults.texts["Roses"]
    assert "There is nothing to send." in tagsage("embed")[1]
    assert tagsage("retry", "--model", "other")[1].startswith("0 texts without a vector of other")
    assert tagsage("retry") == (
        0,
        f"1 texts without a vector of {ADA} are sent again by the next run.",
    )
    assert "1 texts were embedded on line" in tagsage("embed")[1]
    assert kept(cache(tmp_path), "Bread", "Roses", "Sails")[0] == 0
    assert not charged_twice(server.books)


def test_a_model_whose_length_nobody_knows_is_asked_once(tagsage, store, server, tmp_path):
    status, said = tagsage("embed", "--set", "openai_model=local-model")
    assert status == 0, said
    assert kept(cache(tmp_path, "local-model", 5), "Bread", "Roses", "Sails")[0] == 0
    assert not charged_twice(server.books)


def test_in_batch_mode_embed_waits_and_jobs_tells(tagsage, store, server, tmp_path):
    batch = ("--set", "openai_mode=batch", "--set", "openai_poll_s=0.1")
    status, said = tagsage("embed", "--no-wait", *batch)
    assert status == 0, said
    key = re.search(r"Batches under way: (\S+); run the command again", said)[1]
    assert key in tagsage("jobs")[1]
    assert kept(cache(tmp_path), "Bread")[0] == 1
    status, said = tagsage("embed", *batch)
    assert status == 0, said
    assert f"{key}: 3 of 3 texts have a vector." in said
    assert kept(cache(tmp_path), "Bread", "Roses", "Sails")[0] == 0
    assert "taken" in tagsage("jobs")[1]
    assert not charged_twice(server.books)


def test_a_batch_is_cancelled_or_given_up_by_its_key(tagsage, store, server):
    batch = ("--set", "openai_mode=batch", "--set", "openai_poll_s=0.1")
    said = tagsage("embed", "--no-wait", *batch)[1]
    key = re.search(r"Batches under way: (\S+);", said)[1]
    status, said = tagsage("cancel", key)
    assert status == 0
    assert said.startswith(f"{key} is ")
    status, said = tagsage("cancel", key, "--give-up")
    assert (status, said.split()[0]) == (0, key)
    assert "taken" in tagsage("jobs")[1]


def test_before_anything_was_sent_the_books_are_empty_and_are_not_made(tagsage, tmp_path):
    for command in ("spent", "jobs", "retry"):
        assert "Nothing was ever sent with the cache in " in tagsage(command)[1]
    assert not (tmp_path / "w" / "vectors").exists()

"""The commands of `tagsage vectors`."""

from __future__ import annotations

import pytest

from scripts.openai_server import OpenAiServer
from tagsage.settings import Settings
from tagsage.workspace import Workspace
from tests.integration.conftest import run_in_process

MODEL = "text-embedding-3-small"
TITLES = ["graphs and nodes", "cheese from the farm", "", "graphs again"]


@pytest.fixture(scope="module")
def server():
    with OpenAiServer() as running, pytest.MonkeyPatch.context() as patched:
        patched.setenv("OPENAI_BASE_URL", running.base_url)
        yield running


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Return a workspace whose store has four articles."""
    from tagsage.corpus.csv_source import read_csv_corpus
    from tagsage.store.database import sqlite_file
    from tagsage.store.open import open_store

    folder = tmp_path_factory.mktemp("vectors-command")
    Workspace(str(folder)).claim()
    rows = [f"https://site.example/{n},{title},2024-01-01,A,[]\n" for n, title in enumerate(TITLES)]
    (folder / "a.csv").write_text("story,title,date,author,tags\n" + "".join(rows))
    (folder / "l.csv").write_text("list,article\nl,https://site.example/0\n")
    corpus = read_csv_corpus(str(folder / "a.csv"), str(folder / "l.csv"), max_rejected_share=1.0)
    settings = Settings(workspace=str(folder))
    with open_store("sqlite", sqlite_path=sqlite_file(settings)) as store:
        store.load(corpus)
    return folder


def vectors(workspace, *arguments: str, mode: str = "online"):
    pairs = {"openai_model": MODEL, "openai_dimensions": "4", "openai_prices": f"{MODEL}=1"}
    pairs |= {"openai_mode": mode, "openai_poll_s": "0.1"}
    settings = [part for name, value in pairs.items() for part in ("--set", f"{name}={value}")]
    done = run_in_process("vectors", *arguments, "--workspace", workspace, *settings)
    return done.returncode, done.stdout, done.stderr


def test_plan_embed_list_spent_and_prune(workspace, server):
    code, said, _ = vectors(workspace, "plan")
    assert code == 0
    assert "3 texts have no vector of text-embedding-3-small-4 yet" in " ".join(said.split())
    assert server.requests == []
    code, said, _ = vectors(workspace, "embed")
    assert code == 0
    assert f"has sent 3 texts, {server.tokens()} tokens" in " ".join(said.split())
    assert "0 texts have no vector" in " ".join(vectors(workspace, "plan")[1].split())
    assert f"{MODEL}-4" in vectors(workspace, "list")[1]
    assert "embed-" in vectors(workspace, "spent")[1]
    assert "3 vectors of" in vectors(workspace, "prune", f"{MODEL}-4")[1]
    assert f"{MODEL}-4" not in vectors(workspace, "list")[1]


def test_batches_are_listed_awaited_cancelled_and_forgotten(workspace, server):
    vectors(workspace, "prune", f"{MODEL}-4")
    code, _, error = vectors(workspace, "embed", mode="batch")
    assert code == 0, error
    assert len(server.texts("batch")) == 3
    code, _, error = vectors(workspace, "cancel", "batch_unknown")
    assert code == 1
    assert "No batch batch_unknown is under way" in error
    assert "batch_" not in vectors(workspace, "jobs")[1]


def test_batch_under_way_is_cancelled_or_forgotten(workspace, server):
    from tagsage.embed.cache import Job, Usage, VectorCache, cache_file
    from tagsage.embed.text import text_hashes

    with VectorCache(cache_file(Settings(workspace=str(workspace)))) as cache:
        for name in ("batch_1", "batch_2"):
            usage = Usage("r", f"{MODEL}-4", 1, 5, 0.1)
            cache.add_job(Job(name, f"{MODEL}-4", "r", 1.0, 0.0, 1), text_hashes([name]), usage)
    assert "1970-01-01" in vectors(workspace, "jobs")[1]
    assert vectors(workspace, "cancel", "batch_1", "--forget")[0] == 0
    code, _, error = vectors(workspace, "cancel", "batch_2")
    assert code == 1
    assert "does not know the batch batch_2" in error
    assert "batch_1" not in vectors(workspace, "jobs")[1]

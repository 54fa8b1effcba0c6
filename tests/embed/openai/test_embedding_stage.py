"""What the stages of the embedder make of cache and ledger."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest

from scripts.openai_server import OpenAiServer, expected_vectors
from tagsage.embed.cache import VectorCache
from tagsage.embed.openai.config import OpenAiConfig
from tagsage.embed.openai.embedder import OpenAiEmbedder
from tagsage.embed.openai.ledger import Ledger
from tagsage.embed.segments import Segment
from tagsage.embed.text import text_hashes
from tagsage.errors import NonRetryableError, TagsageError
from tagsage.run_context import RunContext
from tagsage.settings import Settings
from tagsage.stages import embed_openai
from tagsage.stages.common import openai_folder

KEY = "sk-test-0123456789abcdef"
MODEL, DIMENSIONS = "text-embedding-3-small", 4
EMBEDDER = OpenAiEmbedder(OpenAiConfig(MODEL, DIMENSIONS), DIMENSIONS)
TEXTS = ["a", "b", "c", "d"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.resolve({"workspace": str(tmp_path), "embedder": "openai"})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Generator[OpenAiServer]:
    with OpenAiServer(api_key=KEY) as running:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", running.base_url)
        yield running


def fill(cache: VectorCache, texts: list[str]) -> None:
    cache.put(text_hashes(texts), expected_vectors(texts, MODEL, DIMENSIONS))


def gather(cache: VectorCache, rejected: list[str]) -> np.ndarray:
    out = np.ones((len(TEXTS), DIMENSIONS), np.float32)
    hashes = [bytes(each) for each in text_hashes(rejected)]
    embed_openai._gather(cache, text_hashes(TEXTS), out, hashes)
    return out


def test_only_texts_that_are_missing_and_not_rejected_end_the_gathering(settings: Settings) -> None:
    cache = embed_openai.open_cache(settings, EMBEDDER)
    fill(cache, ["a", "b"])
    # As many as were rejected, but not the same ones.
    with pytest.raises(TagsageError, match=rf"^1 texts have no vector of {EMBEDDER.model_id} in "):
        gather(cache, ["a", "c"])
    np.testing.assert_array_equal(
        gather(cache, ["c", "d"]),
        [*expected_vectors(["a", "b"], MODEL, DIMENSIONS), [0] * DIMENSIONS, [0] * DIMENSIONS],
    )
    # Another run has got vectors of rejected ones meanwhile.
    fill(cache, ["c"])
    assert not gather(cache, ["c", "d"])[3].any()
    fill(cache, ["d"])
    np.testing.assert_array_equal(
        gather(cache, ["c", "d"]), expected_vectors(TEXTS, MODEL, DIMENSIONS)
    )


def test_what_was_cut_at_the_servers_demand_is_listed_as_repaired(settings: Settings) -> None:
    hashes = text_hashes(TEXTS)
    with Ledger(openai_folder(settings)) as ledger:
        ledger.note_cut(EMBEDDER.model_id, [bytes(hashes[1]), bytes(hashes[2])])
        ledger.note_cut("another model", [bytes(hashes[0])])
    listed = embed_openai._quarantine(
        settings, EMBEDDER.model_id, TEXTS, TEXTS, hashes, {bytes(hashes[2]): "too bad"}
    )
    assert listed[["line", "kind", "reason"]].to_numpy().tolist() == [
        [2, "repaired", embed_openai.CUT],
        [3, "rejected", "too bad"],
    ]


def test_a_champions_vectors_are_checked_once_for_all_blocks(
    settings: Settings, server: OpenAiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunContext("run", settings)
    cache = embed_openai.open_cache(settings, EMBEDDER)
    fill(cache, ["a", "b"])
    checked = []

    def is_sound(segment: Segment) -> bool:
        checked.append(segment.folder.name)
        return original(segment)

    original = Segment.is_sound
    monkeypatch.setattr(Segment, "is_sound", is_sound)
    for block in (["a", "c", ""], ["b", "d"], ["a", "d"]):
        found = embed_openai.embed_as(run, EMBEDDER, cache, block)
        there = [row for row, text in enumerate(block) if text]
        np.testing.assert_array_equal(
            found[there],
            expected_vectors([block[row] for row in there], MODEL, DIMENSIONS),
        )
        assert not np.delete(found, there, axis=0).any()
    assert len(checked) == len(set(checked)) == 3
    assert server.books.texts() == {"c", "d"}


def test_a_plan_that_cannot_be_afforded_is_not_tried_again(tmp_path: Path) -> None:
    settings = Settings.resolve({"workspace": str(tmp_path), "openai_max_dollars": 0})
    summary = {"new_texts": 3, "estimated_tokens": 9, "estimated_dollars": 0.1, "price": 0.1}
    with pytest.raises(
        NonRetryableError, match=r"^3 new texts of about 9 tokens .* of a run is \$0 and"
    ):
        embed_openai._tell_cost(settings, {**summary, "cut_texts": 0})

"""A folder, a server and some texts: what the tests of batches start from."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from scripts.openai_api.batches import ENDED, BatchRules
from scripts.openai_server import Faults, OpenAiServer, expected_vectors
from tagsage.embed.cache import VectorCache
from tagsage.embed.openai.batch_files import JobLimits
from tagsage.embed.openai.batch_jobs import JobState, poll_job
from tagsage.embed.openai.batch_results import TakeReport, take_job
from tagsage.embed.openai.batch_submit import submit_missing
from tagsage.embed.openai.config import Ceiling, OpenAiConfig
from tagsage.embed.openai.ledger import Ledger, Spending
from tagsage.embed.openai.online import OnlineReport, embed_online
from tagsage.embed.openai.spool import CACHE
from tagsage.embed.text import text_hashes
from tagsage.openai_connection import OpenAiConnection

KEY = "sk-test-0123456789abcdef"
MODEL = "text-embedding-3-small"
DIMENSIONS = 8
PRICE = 0.01


@dataclass(frozen=True)
class World:
    folder: Path
    base_url: str
    texts: list[str]
    config: OpenAiConfig = field(
        default_factory=lambda: OpenAiConfig(
            model=MODEL, dimensions=DIMENSIONS, timeout_s=10, patience_s=20, attempts=2
        )
    )
    # Three lines a job.
    limits: JobLimits = field(default_factory=lambda: JobLimits(texts=30, line_texts=10))
    ceiling: Ceiling = field(default_factory=lambda: Ceiling(100.0, 100_000_000))
    run_id: str = "run"

    def but(self, **changes) -> World:
        return replace(self, **changes)

    @property
    def connection(self) -> OpenAiConnection:
        return OpenAiConnection(KEY, self.base_url)

    @property
    def hashes(self) -> np.ndarray:
        return text_hashes(self.texts)

    def _common(self) -> dict:
        return {
            "folder": self.folder,
            "dimensions": DIMENSIONS,
            "run_id": self.run_id,
            "price": PRICE,
            "ceiling": self.ceiling,
        }

    def submit(self) -> list[str]:
        rows = np.arange(len(self.texts))
        return submit_missing(
            self.connection, self.config, self.texts, self.hashes, rows,
            **self._common(), limits=self.limits,
        )  # fmt: skip

    def poll(self, key: str) -> JobState:
        return poll_job(self.connection, self.config, key, folder=self.folder)

    def take(self, key: str) -> TakeReport:
        return take_job(self.connection, self.config, key, folder=self.folder)

    def online(self) -> OnlineReport:
        rows = np.arange(len(self.texts))
        return embed_online(
            self.connection, self.config, self.texts, self.hashes, rows, **self._common()
        )

    def spent(self) -> Spending:
        with Ledger(self.folder) as ledger:
            return ledger.spent(self.run_id)

    def claims(self) -> int:
        with sqlite3.connect(self.folder / "ledger.db") as books:
            (count,) = books.execute("SELECT COUNT(*) FROM claims").fetchone()
        books.close()
        return count

    def vectors(self) -> tuple[np.ndarray, int]:
        out = np.empty((len(self.texts), DIMENSIONS), np.float32)
        missing = VectorCache(self.folder / CACHE, self.config.model_id, DIMENSIONS).gather(
            self.hashes, out
        )
        return out, missing

    def assert_right(self) -> None:
        """Every text has the vector that the server has for it."""
        found, missing = self.vectors()
        assert missing == 0
        np.testing.assert_array_equal(found, expected_vectors(self.texts, MODEL, DIMENSIONS))

    def right_share(self) -> float:
        """Return the share of texts with a vector, which are all checked."""
        found, _ = self.vectors()
        there = found.any(axis=1)
        expected = expected_vectors(self.texts, MODEL, DIMENSIONS)
        np.testing.assert_array_equal(found[there], expected[there])
        return float(there.mean())


def some_texts(count: int) -> list[str]:
    return [f"Title {i}: about things of kind {i % 7}" for i in range(count)]


def posts(server: OpenAiServer, what: str) -> int:
    """Return how many files or batches were made, whether or not we were told."""
    return len(server.books.answered(f"POST /v1/{what}"))


def by_hand(**options) -> OpenAiServer:
    """Return a server whose batches move only when told to."""
    options.setdefault("faults", Faults(retry_after_s=0.05, slow_s=0.05))
    return OpenAiServer(api_key=KEY, batches=BatchRules(seconds=None), **options)


def _under_way(server: OpenAiServer) -> list[str]:
    shown = server.api.batches.listed({"limit": "100"})["data"]
    return [batch["id"] for batch in shown if batch["status"] not in ENDED]


def finish(server: OpenAiServer) -> None:
    """Bring all batches to their end."""
    for batch in _under_way(server):
        while server.advance(batch) not in ENDED:
            pass


def work(server: OpenAiServer, *, lines: int) -> None:
    """Compute so many lines of the batches that were just made."""
    for batch in _under_way(server):
        assert server.advance(batch) == "in_progress"
        server.advance(batch, lines=lines)


def expire(server: OpenAiServer, *, lines: int) -> None:
    """Let the time of the batches be over after so many lines."""
    work(server, lines=lines)
    for batch in _under_way(server):
        server.expire(batch)


def set_queue(server: OpenAiServer, tokens: int | None) -> None:
    """Say how many tokens may wait."""
    server.api.batches.rules = replace(server.api.batches.rules, enqueued_tokens=tokens)

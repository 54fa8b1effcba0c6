"""The embedder ``openai``: new texts are sent, paid vectors are found in the cache."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tagsage.corpus.quarantine import REJECTED, REPAIRED, Quarantine
from tagsage.embed.cache import Usage, VectorCache, cache_file
from tagsage.embed.embedders import ABOUT_FILE, CorpusVectors
from tagsage.embed.openai.online import embed_online
from tagsage.embed.openai.tokens import dollars_of, estimate_tokens, price_of, sendable
from tagsage.embed.text import article_texts, text_hashes
from tagsage.errors import NonRetryableError, TagsageError
from tagsage.files import read_json, write_json
from tagsage.openai_connection import resolve_openai_connection
from tagsage.settings.embed import EmbedSettings

if TYPE_CHECKING:
    import pandas as pd

    from tagsage.settings import Settings

logger = logging.getLogger(__name__)

CUT = "the text is longer than the model takes and was cut"
# The settings that a saved embedder keeps.
_KEPT = {"openai_model", "openai_dimensions", "openai_request_texts", "openai_timeout_s"}


@dataclass(frozen=True)
class OpenAiEmbedder:
    """Embeds texts with a model behind OpenAI's API; `settings` holds no key and no address."""

    settings: EmbedSettings
    dimensions: int

    @property
    def model_id(self) -> str:
        """Name of the model; equal names mean equal vectors."""
        return model_id_of(self.settings)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed texts without the cache, on the account that the environment names.

        An empty or rejected text has a zero row. Raises `TagsageError` when the server fails.
        """
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        chosen = list(dict.fromkeys(filter(None, texts)))
        if not chosen:
            return vectors
        found: dict[str, npt.NDArray[np.float32]] = {}
        connection = resolve_openai_connection()
        for outcome in embed_online(connection, self.settings, chosen, dimensions=self.dimensions):
            answered = (chosen[place] for place in outcome.places.tolist())
            found |= zip(answered, outcome.vectors, strict=True)
        for row, text in enumerate(texts):
            if text in found:
                vectors[row] = found[text]
        return vectors

    def embed_cached(
        self, texts: Sequence[str], settings: Settings, *, run_id: str
    ) -> npt.NDArray[np.float32]:
        """Embed texts on a run's account; those in the cache are not sent again.

        An empty or rejected text has a zero row.
        """
        own = settings.model_copy(update=self.settings.model_dump(include=_KEPT))
        hashes = text_hashes(texts)
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        with VectorCache(cache_file(own)) as cache:
            embed_missing(cache, own, texts, hashes, run_id=run_id)
            cache.gather(self.model_id, hashes, vectors)
        return vectors

    def save(self, folder: Path) -> None:
        """Write model and limits as JSON to a folder that does not exist yet."""
        kept = self.settings.model_dump(include=_KEPT)
        about = {"embedder": "openai", "dimensions": self.dimensions, "settings": kept}
        write_json(folder / ABOUT_FILE, about)


def load(folder: Path) -> OpenAiEmbedder:
    """Read a saved embedder; raises `TagsageError` when it is missing or damaged."""
    about = read_json(folder / ABOUT_FILE) or {}
    try:
        return OpenAiEmbedder(EmbedSettings(**about["settings"]), int(about["dimensions"]))
    except (KeyError, TypeError, ValueError) as error:
        msg = f"Cannot read the embedder in {folder} ({error}); train the model anew."
        raise TagsageError(msg) from error


def model_id_of(settings: EmbedSettings) -> str:
    """Return the name of the settings' model, with the length of its vectors where that is set."""
    length = settings.openai_dimensions
    return f"{settings.openai_model}-{length}" if length else settings.openai_model


def depends_on(settings: Settings) -> dict[str, Any]:
    """Return the name of the model."""
    return {"model_id": model_id_of(settings)}


def embed_corpus(
    articles: pd.DataFrame, settings: Settings, *, out: Path, run_id: str
) -> CorpusVectors:
    """Send the texts that the cache lacks, and gather the vectors of all articles.

    Rejected texts have a zero vector, and are in the quarantine; so are texts that were cut.
    """
    texts = article_texts(articles)
    hashes = text_hashes(texts)
    model = model_id_of(settings)
    with VectorCache(cache_file(settings)) as cache:
        rejected = embed_missing(cache, settings, texts, hashes, run_id=run_id)
        # Without any text the length of a vector is unknown; every vector is zero then.
        dimensions = cache.dimensions_of(model) or settings.openai_dimensions or 1
        vectors = np.lib.format.open_memmap(
            out, mode="w+", dtype=np.float32, shape=(len(texts), dimensions)
        )
        cache.gather(model, hashes, vectors)
        vectors.flush()
    quarantine = Quarantine()
    for row, (url, text) in enumerate(zip(articles["url"].tolist(), texts, strict=True)):
        # The line is the article's place in the corpus: there is no file of vectors.
        if hashes[row] in rejected:
            quarantine.add(model, row + 1, REJECTED, rejected[hashes[row]], url)
        elif sendable(text)[1]:
            quarantine.add(model, row + 1, REPAIRED, CUT, url)
    return CorpusVectors(
        model,
        dimensions,
        OpenAiEmbedder(settings, dimensions),
        quarantine.frame(),
        {"rejected_texts": len(rejected)},
    )


@dataclass(frozen=True)
class Plan:
    """The texts to send (first rows), their estimated tokens, and US dollars per million tokens."""

    rows: npt.NDArray[np.int64]
    tokens: int
    price: float

    def sentence(self, settings: Settings) -> str:
        """Return the plan as a sentence for the log."""
        dollars = dollars_of(self.tokens, self.price)
        return (
            f"{len(self.rows):,} texts have no vector of {model_id_of(settings)} yet: about "
            f"{self.tokens:,} tokens, ${dollars:,.4f} at ${self.price:g} per million; the "
            f"ceiling is ${settings.openai_max_dollars:,g}"
        )


def plan_texts(
    cache: VectorCache,
    settings: Settings,
    texts: Sequence[str],
    hashes: npt.NDArray[np.bytes_],
    *,
    batch: bool = False,
) -> Plan:
    """Find the texts that the cache lacks, and what they will cost; nothing is sent."""
    rows = cache.missing(model_id_of(settings), hashes)
    if not len(rows):
        # A run without new texts needs no key and no address.
        return Plan(rows, 0, 0.0)
    tokens = sum(estimate_tokens(sendable(texts[row])[0]) for row in rows.tolist())
    official = resolve_openai_connection().official
    return Plan(rows, tokens, price_of(settings, official=official, batch=batch))


def check_ceiling(settings: Settings, spent: Usage, tokens: int, price: float) -> None:
    """Raise `NonRetryableError` when past and planned spending exceed `openai_max_dollars`."""
    dollars = dollars_of(tokens, price)
    if spent.dollars + dollars > settings.openai_max_dollars:
        msg = (
            f"About {tokens:,} tokens would cost about ${dollars:,.4f}, the run has spent "
            f"${spent.dollars:,.4f} so far, and its ceiling is ${settings.openai_max_dollars:,g}; "
            "raise openai_max_dollars."
        )
        raise NonRetryableError(msg)


def embed_missing(
    cache: VectorCache,
    settings: Settings,
    texts: Sequence[str],
    hashes: npt.NDArray[np.bytes_],
    *,
    run_id: str,
) -> dict[bytes, str]:
    """Send the texts that the cache lacks, and return the reasons why some were rejected, by hash.

    Every answer is cached at once. Raises `TagsageError` when the ceiling is too low, or the server
    does not answer or refuses.
    """
    model = model_id_of(settings)
    if not len(cache.missing(model, hashes)):
        return {}
    rejected: dict[bytes, str] = {}
    with cache.filling():
        plan = plan_texts(cache, settings, texts, hashes)
        if not len(plan.rows):
            return {}
        logger.info("openai: %s", plan.sentence(settings))
        check_ceiling(settings, cache.spent(run_id), plan.tokens, plan.price)
        sent = hashes[plan.rows]
        for outcome in embed_online(
            resolve_openai_connection(),
            settings,
            [texts[row] for row in plan.rows.tolist()],
            dimensions=cache.dimensions_of(model),
            before_sending=lambda tokens: check_ceiling(
                settings, cache.spent(run_id), tokens, plan.price
            ),
        ):
            dollars = dollars_of(outcome.tokens, plan.price)
            usage = Usage(run_id, model, len(outcome.places), outcome.tokens, dollars)
            cache.put(model, sent[outcome.places], outcome.vectors, usage)
            rejected |= {sent[place]: why for place, why in outcome.rejected.items()}
    return rejected

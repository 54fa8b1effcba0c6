"""Why a model gives an article a tag, as plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True)
class ListEvidence:
    """A list that supports a tag; its counts leave out the explained article."""

    list: str
    size: int
    """Articles in it, the explained one included."""
    labelled: int
    """Others in it that have a tag of the model."""
    with_tag: int
    """Others in it that have this tag."""
    drop: float
    """How far the probability falls when the article is not in the list."""


@dataclass(frozen=True)
class ArticleEvidence:
    """A labelled article that has the tag and shares lists."""

    story: str
    title: str
    lists: list[str]
    """Some lists that hold both, the smallest first."""


@dataclass(frozen=True)
class TextEvidence:
    """A labelled article whose text is similar."""

    story: str
    title: str
    similarity: float
    """Cosine of the two vectors."""
    has_tag: bool


@dataclass(frozen=True)
class WordEvidence:
    """A word that supports a tag."""

    word: str
    drop: float
    """How far the probability falls when the text does not have it."""


@dataclass(frozen=True)
class TermEvidence:
    """A part of the sum that a linear model's log-odds are."""

    kind: str
    """``start`` (the intercept), ``word``, ``list``, ``author``, ``others`` together, or
    ``calibration``: what that adds to the sum of all these."""
    name: str
    log_odds: float


KINDS: Mapping[str, type[Any]] = {
    "lists": ListEvidence,
    "articles": ArticleEvidence,
    "texts": TextEvidence,
    "words": WordEvidence,
    "terms": TermEvidence,
}


@dataclass(frozen=True)
class Explanation:
    """What supports a tag of an article; in each list the strongest first."""

    story: str
    tag: str
    score: float
    """The tag's probability."""
    threshold: float
    """What the probability has to reach for the tag to be assigned."""
    score_without_graph: float
    """The probability if the article were in no list."""
    lists: list[ListEvidence]
    articles: list[ArticleEvidence]
    texts: list[TextEvidence]
    words: list[WordEvidence]
    """None for an embedder whose vectors take long or are paid for."""
    terms: list[TermEvidence]
    """What adds up to the log-odds of a linear model; empty for other models."""

    def record(self) -> dict[str, Any]:
        """Return a row of a table, with lists as JSON."""
        return asdict(self) | {
            kind: json.dumps([vars(item) for item in getattr(self, kind)], ensure_ascii=False)
            for kind in KINDS
        }

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Read what :meth:`record` gave."""
        items = {
            kind: [make(**item) for item in json.loads(record[kind])]
            for kind, make in KINDS.items()
        }
        return cls(**{**record, **items})

    def sentence(self) -> str:
        """Return the strongest evidence, to follow "because of"; names in it may hold anything."""
        parts = [
            f"the list {item.list} ({item.with_tag:,} of {item.labelled:,} tagged articles in it "
            "have the tag)"
            for item in self.lists[:2]
        ]
        if self.lists and self.articles:
            titles = " and ".join(item.title for item in self.articles[:2])
            parts.append(f"{titles} in the same lists")
        if self.words:
            parts.append(f"the words {', '.join(item.word for item in self.words[:3])}")
        if not parts:
            parts = ["the article as a whole: no single list or word matters"]
        if self.lists:
            parts.append(f"without lists {100 * self.score_without_graph:.0f}%")
        return "; ".join(parts)

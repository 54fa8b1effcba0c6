"""Why a model gives an article a tag, as plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class ListEvidence:
    """A list that speaks for a tag.

    Attributes
    ----------
    list : str
        Its name.
    size : int
        How many articles it holds.
    labelled : int
        How many others of them have some tag that the model knows.
    with_tag : int
        How many others of them have this tag.
    drop : float
        How far the probability falls when the article is not in the list.
    """

    list: str
    size: int
    labelled: int
    with_tag: int
    drop: float


@dataclass(frozen=True)
class ArticleEvidence:
    """A labelled article that has the tag and shares lists.

    Attributes
    ----------
    story, title : str
        The article.
    lists : list of str
        Some lists that hold both, the smallest first.
    """

    story: str
    title: str
    lists: list[str]


@dataclass(frozen=True)
class TextEvidence:
    """A labelled article with a text like the article's.

    Attributes
    ----------
    story, title : str
        The article.
    similarity : float
        Cosine of the two vectors.
    has_tag : bool
        Whether it has the tag.
    """

    story: str
    title: str
    similarity: float
    has_tag: bool


@dataclass(frozen=True)
class WordEvidence:
    """A word that speaks for a tag.

    Attributes
    ----------
    word : str
        The word, in lower case.
    drop : float
        How far the probability falls when the text does not have it.
    """

    word: str
    drop: float


@dataclass(frozen=True)
class TermEvidence:
    """A part of the sum that a linear model's score is.

    Attributes
    ----------
    kind : str
        ``start`` (an article of which nothing is known), ``word``, ``list``, ``author``, or
        ``others``: what is not named, together.
    name : str
        The word, the list, the author.
    log_odds : float
        What it adds to the log-odds; all of them are those of the score.
    """

    kind: str
    name: str
    log_odds: float


@dataclass(frozen=True)
class Explanation:
    """What speaks for a tag of an article; the strongest first.

    Attributes
    ----------
    story, tag : str
        The article's URL, and the tag.
    score : float
        Its probability.
    threshold : float
        What the probability has to reach for the tag to be assigned.
    score_without_graph : float
        Its probability if the article were in no list.
    lists : list of ListEvidence
        The lists that speak for it.
    articles : list of ArticleEvidence
        Labelled articles with the tag that share lists.
    texts : list of TextEvidence
        Labelled articles with the nearest texts, with the tag or without.
    words : list of WordEvidence
        The words that matter; none for an embedder that would have to be paid for.
    terms : list of TermEvidence
        What adds up to the score of a linear model, the largest first; empty for others.
    """

    story: str
    tag: str
    score: float
    threshold: float
    score_without_graph: float
    lists: list[ListEvidence]
    articles: list[ArticleEvidence]
    texts: list[TextEvidence]
    words: list[WordEvidence]
    terms: list[TermEvidence] = field(default_factory=list)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Read what :meth:`record` gave."""
        kinds = {
            "lists": ListEvidence,
            "articles": ArticleEvidence,
            "texts": TextEvidence,
            "words": WordEvidence,
            "terms": TermEvidence,
        }
        items = {
            kind: [make(**item) for item in json.loads(record[kind])]
            for kind, make in kinds.items()
        }
        return cls(**{**record, **items})

    def sentence(self) -> str:
        """Return what speaks the most for it, to follow "because of"; without a full stop.

        Names of lists, titles and words are as they came: they may hold anything.
        """
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
            parts = ["all of the article together: no list or word alone matters"]
        if self.lists:
            parts.append(f"without lists {100 * self.score_without_graph:.0f}%")
        return "; ".join(parts)

    def record(self) -> dict[str, Any]:
        """Return it as a row of a table: what is a list, as JSON."""
        kinds = ("lists", "articles", "texts", "words", "terms")
        return asdict(self) | {
            kind: json.dumps([vars(item) for item in getattr(self, kind)], ensure_ascii=False)
            for kind in kinds
        }

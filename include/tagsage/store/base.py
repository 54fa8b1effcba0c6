"""What every store of articles does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.corpus.model import Corpus, articles_to_table
from tagsage.store.predictions import WriteReport
from tagsage.store.snapshot import Snapshot, assemble

Kind = Literal["predictions", "suggestions"]
Parts: TypeAlias = "pd.DataFrame | Iterable[pd.DataFrame]"
"""A table, or parts of it that each hold all rows of their stories."""


@dataclass(frozen=True)
class LoadReport:
    """How many articles and memberships a store holds after a load, and what the load changed."""

    articles: int
    memberships: int
    added: int
    updated: int
    removed: int
    memberships_added: int
    memberships_removed: int


class ArticleStore(ABC):
    """Keeps the corpus, predictions and suggestions; a context manager.

    A killed writer leaves the old predictions or the new ones. A killed load is run again; until
    then :meth:`snapshot` gives the previous corpus, or refuses. Every method raises `TagsageError`
    when the store cannot be read or written.
    """

    keeps_vectors: ClassVar[bool] = False

    @abstractmethod
    def load(self, corpus: Corpus) -> LoadReport:
        """Make the store hold this corpus and nothing else; only differences are written.

        Predictions and suggestions stay, except those of removed articles. Raises `ValueError` when
        a key or a membership is not unique, or a membership's article is missing.
        """

    @abstractmethod
    def snapshot(self) -> Snapshot:
        """Read the whole corpus; raises `TagsageError` also when the last load did not end."""

    def write_predictions(
        self, predictions: Parts, *, run_id: str, model_version: str
    ) -> WriteReport:
        """Make the store hold these predictions and no others; unchanged ones keep run and model.

        Columns are ``story`` (URL of an article in the store), ``tag``, ``score`` (finite),
        ``assigned`` (0 or 1) and, if known, ``threshold``; rows are unique. Raises `TagsageError`
        when the store lacks a story (nothing changes then), `ValueError` for another frame.
        """
        made = _with_columns(predictions, run_id=run_id, model_version=model_version)
        return self._write("predictions", made, keep_makers=True)

    def read_predictions(self) -> pd.DataFrame:
        """Read the predictions: articles by key, the best tag first, equal scores by tag.

        Columns are ``story``, ``tag``, ``score``, ``assigned`` (int64), ``threshold`` (NaN where
        unknown), ``model_version``, ``run_id``.
        """
        return self._read("predictions")

    def restore_predictions(self, predictions: pd.DataFrame) -> WriteReport:
        """Write what :meth:`read_predictions` of another store returned, makers included."""
        return self._write("predictions", [predictions], keep_makers=False)

    def write_suggestions(
        self, suggestions: Parts, *, run_id: str, model_version: str
    ) -> WriteReport:
        """Do the same for tags that tagged articles may lack; without column ``assigned``."""
        made = _with_columns(suggestions, assigned=1, run_id=run_id, model_version=model_version)
        return self._write("suggestions", made, keep_makers=True)

    def read_suggestions(self) -> pd.DataFrame:
        """Read ``story``, ``tag``, ``score``, ``model_version`` and ``run_id`` of suggestions."""
        return self._read("suggestions").drop(columns=["assigned", "threshold"])

    def restore_suggestions(self, suggestions: pd.DataFrame) -> WriteReport:
        """Do the same as :meth:`restore_predictions` for suggestions."""
        return self._write("suggestions", [suggestions.assign(assigned=1)], keep_makers=False)

    def mark_targets(self, tags: Sequence[str]) -> None:
        """Mark these tags, and no others, as target tags; only Neo4j does, by a label."""
        del tags

    def write_vectors(
        self, name: str, keys: Sequence[str], vectors: npt.NDArray[np.floating], *, digest: str
    ) -> bool:
        """Keep vectors [n, d] as a property that GDS can project; False if nothing changed.

        They are kept as float32. Articles that are not among `keys` lose the property; the same
        `digest` means the same vectors. Raises `TagsageError` when the store lacks an article.
        """
        raise NotImplementedError(f"{type(self).__name__} keeps no vectors")

    @abstractmethod
    def counts(self) -> dict[str, int]:
        """Count articles, stubs, lists, memberships, predictions and suggestions."""

    @abstractmethod
    def close(self) -> None:
        """Close what the store holds open; may be called twice."""

    @abstractmethod
    def _write(
        self, kind: Kind, parts: Iterable[pd.DataFrame], *, keep_makers: bool
    ) -> WriteReport:
        """Replace all rows of a kind; `keep_makers`: unchanged rows keep run and model."""

    @abstractmethod
    def _read(self, kind: Kind) -> pd.DataFrame:
        """Read all rows of a kind, with the columns of predictions."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _with_columns(table: Parts, **columns: Any) -> Iterator[pd.DataFrame]:
    for part in [table] if isinstance(table, pd.DataFrame) else table:
        yield part.assign(**columns)


def numbered_memberships(
    corpus: Corpus,
) -> tuple[npt.NDArray[np.int64], list[str], npt.NDArray[np.int64]]:
    """Return the memberships as numbers: each one's list, the lists' names, each one's article row.

    Raises `ValueError` as :meth:`ArticleStore.load` does.
    """
    articles = pd.Index(corpus.articles["key"])
    if not articles.is_unique:
        raise ValueError("an article's key is not unique in the corpus")
    article_of = articles.get_indexer(pd.Index(corpus.memberships["article"])).astype(np.int64)
    if (article_of < 0).any():
        raise ValueError("a membership's article is not in the corpus")
    list_of, names = pd.factorize(corpus.memberships["list"])
    list_of = list_of.astype(np.int64)
    if len(np.unique(list_of * len(articles) + article_of)) < len(list_of):
        raise ValueError("a membership is not unique in the corpus")
    return list_of, names.tolist(), article_of


def snapshot_of(corpus: Corpus) -> Snapshot:
    """Return the snapshot that a store would give of a corpus, with the same digest."""
    list_of, names, article_of = numbered_memberships(corpus)
    return assemble(
        articles_to_table(corpus.articles),
        np.arange(len(corpus.articles), dtype=np.int64),
        names,
        np.arange(len(names), dtype=np.int64),
        (list_of, article_of),
    )

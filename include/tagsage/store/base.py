"""What every store of articles does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.corpus.model import Corpus
from tagsage.errors import TagsageError
from tagsage.store.predictions import WriteReport
from tagsage.store.snapshot import Snapshot


@dataclass(frozen=True)
class LoadReport:
    """What loading a corpus did.

    Attributes
    ----------
    articles, memberships : int
        How many the store holds now, stubs included.
    added, updated, removed : int
        How many articles came, changed and went.
    memberships_added, memberships_removed : int
        How many memberships came and went.
    """

    articles: int
    memberships: int
    added: int
    updated: int
    removed: int
    memberships_added: int
    memberships_removed: int


class InterruptedLoadError(TagsageError):
    """The last load into the store did not end, so that it holds no whole corpus."""

    def __init__(self, where: str) -> None:
        super().__init__(f"The last load into {where} was interrupted; load the corpus again.")


class ArticleStore(ABC):
    """Keeps the corpus, predictions and suggestions; a context manager.

    Several processes may use a store at once: one load goes on at a time, a snapshot waits for it,
    and predictions and suggestions are read either as they were or as they will be. A process that
    is killed leaves nothing that running the same call again does not mend.

    Attributes
    ----------
    keeps_vectors : bool
        Whether articles can have vectors here; the two methods for them fail where not.
    """

    keeps_vectors: ClassVar[bool] = False

    @abstractmethod
    def load(self, corpus: Corpus) -> LoadReport:
        """Make the store hold this corpus and nothing else.

        Only what differs is written, in batches, each in a transaction; what the corpus no longer
        has is removed last. Predictions and suggestions stay, except
        those of articles that go.

        Parameters
        ----------
        corpus : Corpus
            Articles with unique keys; every membership's article is among them.

        Returns
        -------
        LoadReport
            What changed.

        Raises
        ------
        TagsageError
            When the store cannot be written.
        ValueError
            When the corpus breaks what is said above.
        """

    @abstractmethod
    def snapshot(self) -> Snapshot:
        """Read the whole corpus.

        Raises
        ------
        InterruptedLoadError
            When the last load was interrupted and not run again.
        TagsageError
            When the store cannot be read.
        """

    @abstractmethod
    def write_predictions(
        self, predictions: pd.DataFrame, *, run_id: str, model_version: str
    ) -> WriteReport:
        """Make the store hold these predictions and no others.

        Only what differs is written, in batches, each in a transaction. A pair of article and tag
        whose score and assignment are as before keeps the run and the model that first gave them.
        The articles' own tags are not touched.

        Parameters
        ----------
        predictions : pandas.DataFrame
            ``story`` (URL of an article in the store), ``tag`` (str), ``score`` (float, finite),
            ``assigned`` (0 or 1); one row an article and tag.
        run_id : str
            The run that made them.
        model_version : str
            The model that made them.

        Returns
        -------
        WriteReport
            What changed.

        Raises
        ------
        TagsageError
            When the store cannot be written, a run that began later writes its own meanwhile, or a
            story is not in the store; the earlier predictions stay then.
        ValueError
            When the frame is not as said.
        """

    @abstractmethod
    def restore_predictions(self, predictions: pd.DataFrame) -> WriteReport:
        """Make the store hold predictions that another store gave, and no others.

        As :meth:`write_predictions`, but each keeps the run and the model that made it: those that
        the store holds as made by another count as changed.

        Parameters
        ----------
        predictions : pandas.DataFrame
            As :meth:`read_predictions` returns them.
        """

    @abstractmethod
    def read_predictions(self) -> pd.DataFrame:
        """Read the predictions: articles by key, the best tag first, equal scores by tag.

        Returns
        -------
        pandas.DataFrame
            ``story``, ``tag`` (str), ``score`` (float64), ``assigned`` (int64), ``model_version``,
            ``run_id`` (str); empty when there are none.
        """

    @abstractmethod
    def write_suggestions(
        self, suggestions: pd.DataFrame, *, run_id: str, model_version: str
    ) -> WriteReport:
        """Make the store hold these suggestions of missing tags and no others.

        They are kept apart from predictions and from the articles' own tags; in all else this is
        :meth:`write_predictions`, without the column ``assigned``.
        """

    @abstractmethod
    def restore_suggestions(self, suggestions: pd.DataFrame) -> WriteReport:
        """Do with suggestions what :meth:`restore_predictions` does with predictions."""

    @abstractmethod
    def read_suggestions(self) -> pd.DataFrame:
        """Read the suggestions in the order of :meth:`read_predictions`.

        Returns
        -------
        pandas.DataFrame
            ``story``, ``tag``, ``score``, ``model_version``, ``run_id``; types as for predictions.
        """

    def write_vectors(
        self, name: str, keys: Sequence[str], vectors: npt.NDArray[np.floating], *, digest: str
    ) -> bool:
        """Keep one vector an article, under a name.

        Parameters
        ----------
        name : str
            Names the property: letters, digits and underscores.
        keys : sequence of str, length n
            The articles' keys, unique; articles of the store that are not among them lose the
            property.
        vectors : float array, shape [n, d]
            Finite; kept as float32. May be memory-mapped.
        digest : str
            Says what the vectors are: the same digest, the same vectors.

        Returns
        -------
        bool
            False when the store holds these vectors already, and nothing was written.

        Raises
        ------
        TagsageError
            When the store cannot be written or does not hold an article, or another process writes
            vectors of this name or loads a corpus meanwhile.
        ValueError
            When the arguments are not as said; nothing is written then.
        """
        raise NotImplementedError(f"{type(self).__name__} keeps no vectors")

    def read_vectors(
        self, name: str, keys: Sequence[str], *, out: npt.NDArray[np.float32] | None = None
    ) -> npt.NDArray[np.float32]:
        """Read the vectors that :meth:`write_vectors` or GDS kept, in the order of `keys`.

        Parameters
        ----------
        name : str
            Names the property.
        keys : sequence of str, length n
            The articles' keys.
        out : float32 array, shape [n, d], optional
            Filled and returned; may be memory-mapped. Its content is undefined after an error.

        Returns
        -------
        float32 array, shape [n, d]
            `out`, when it was given.

        Raises
        ------
        TagsageError
            When the vectors are not whole, or an article has none, or one that is not finite or of
            another length.
        """
        raise NotImplementedError(f"{type(self).__name__} keeps no vectors")

    @abstractmethod
    def counts(self) -> dict[str, int]:
        """Return how much there is of everything.

        Returns
        -------
        dict of str to int
            ``articles``, ``stubs``, ``lists``, ``memberships``, ``predictions``, ``suggestions``.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the store; may be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def numbered_memberships(
    corpus: Corpus,
) -> tuple[npt.NDArray[np.int64], list[str], npt.NDArray[np.int64]]:
    """Return list and article of each membership as numbers; refuse a corpus at odds with itself.

    Parameters
    ----------
    corpus : Corpus
        What is to be loaded.

    Returns
    -------
    (int64 [n_memberships], list of str, int64 [n_memberships])
        Each membership's list, the lists' names, and each membership's row among the articles.

    Raises
    ------
    ValueError
        When a key or a membership is not unique, or a membership's article is missing.
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

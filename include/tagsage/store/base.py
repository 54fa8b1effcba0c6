"""What every store of articles does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.corpus.model import Corpus
from tagsage.errors import TagsageError
from tagsage.store.snapshot import Snapshot

PREDICTION_COLUMNS = ("story", "tag", "score", "assigned")


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
    """Keeps the corpus and the predictions; a context manager.

    Several processes may use a store at once: one load goes on at a time, a snapshot waits for it,
    and predictions are read either as they were or as they will be. A process that is killed leaves
    nothing that running the same call again does not mend.

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
        has is removed last. Predictions stay, except those of articles that go.

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
    ) -> None:
        """Replace all predictions.

        Parameters
        ----------
        predictions : pandas.DataFrame
            ``story`` (URL of an article in the store), ``tag`` (str), ``score`` (float, finite),
            ``assigned`` (0 or 1); one row an article and tag.
        run_id : str
            The run that made them.
        model_version : str
            The model that made them.

        Raises
        ------
        TagsageError
            When the store cannot be written, a run that began later wrote its own meanwhile, or a
            story is not in the store; the earlier predictions stay then.
        ValueError
            When the frame is not as said.
        """

    @abstractmethod
    def read_predictions(self) -> pd.DataFrame:
        """Read the predictions, in the order in which they were given.

        Returns
        -------
        pandas.DataFrame
            ``story``, ``tag`` (str), ``score`` (float64), ``assigned`` (int64), ``model_version``,
            ``run_id`` (str); empty when there are none.
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
        """Return how many ``articles``, ``stubs``, ``lists``, ``memberships``, ``predictions``."""

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


def check_predictions(predictions: pd.DataFrame) -> None:
    """Refuse predictions that no store could give back as they are.

    Raises
    ------
    ValueError
        Saying which column and why.
    """
    missing = [name for name in PREDICTION_COLUMNS if name not in predictions.columns]
    if missing:
        raise ValueError(f"predictions lack the columns {', '.join(missing)}")
    if not np.isfinite(predictions["score"].to_numpy(dtype=np.float64)).all():
        raise ValueError("a score of the predictions is not a finite number")
    if not predictions["assigned"].isin([0, 1]).all():
        raise ValueError("a value of assigned is neither 0 nor 1")
    if predictions[["story", "tag"]].isna().any(axis=None):
        raise ValueError("a story or tag of the predictions is missing")


def unknown_stories(stories: Sequence[str]) -> None:
    """Refuse predictions of articles that are not in the store.

    Raises
    ------
    TagsageError
        When there are any; names one.
    """
    if stories:
        more = f" and {len(stories) - 1:,} more" if len(stories) > 1 else ""
        msg = (
            f"The predictions name {stories[0]!r}{more}, which the store does not hold: another "
            "corpus was loaded meanwhile; run again, one run at a time."
        )
        raise TagsageError(msg)


def predictions_frame(
    story: Any, tag: Any, score: Any, assigned: Any, *, run_id: str, model_version: str
) -> pd.DataFrame:
    """Make the frame of :meth:`ArticleStore.read_predictions`.

    Parameters
    ----------
    story, tag : pandas array of str, length n
        What was predicted for whom.
    score, assigned : array, shape [n]
        Probabilities, and whether they reach the threshold.
    run_id, model_version : str
        Who predicted.
    """
    text = pd.array([model_version, run_id], dtype="str")
    once = np.zeros(len(score), dtype=np.int64)
    return pd.DataFrame({
        "story": story,
        "tag": tag,
        "score": score,
        "assigned": assigned,
        "model_version": text.take(once),
        "run_id": text.take(once + 1),
    })

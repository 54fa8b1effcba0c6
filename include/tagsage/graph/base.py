"""What the stages call: one interface, an engine for each place where the graph can be computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.errors import TagsageError
from tagsage.graph.graphsage.config import GraphSageConfig
from tagsage.graph.similarity import SimilarityConfig

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr

Summary = dict[str, Any]

# Files of results, the same for every engine.
DEGREES_FILE = "degrees.npy"
LABELS_FILE = "labels.npy"
SAMPLE_FILE = "sample.npy"
EMBEDDINGS_FILE = "embeddings.npy"
MODEL_FOLDER = "model"


@dataclass(frozen=True)
class SampleConfig:
    """How the training sample is drawn; the defaults are the study's.

    Attributes
    ----------
    ratio : float
        Share of the articles, in (0, 1].
    restart_probability : float
        Chance a step that a walk ends, in (0, 1).
    seed : int
        Seed of the walks.
    """

    ratio: float = 0.2
    restart_probability: float = 0.1
    seed: int = 42

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1:
            msg = f"sample: ratio must be above 0 and at most 1, not {self.ratio}."
            raise TagsageError(msg)
        if not 0 < self.restart_probability < 1:
            msg = (
                "sample: restart_probability must be between 0 and 1, "
                f"not {self.restart_probability}."
            )
            raise TagsageError(msg)


class GraphEngine(ABC):
    """Computes the graph's part of a run, one method a task.

    Each method may run in a process of its own. It gets explicit paths: the folders that earlier
    methods filled, and `folder`, empty, to fill; it returns a summary for people and for later
    tasks (JSON-serialisable: counts, never data). An engine on a server also keeps graphs there,
    which it drops in :meth:`teardown`; it writes into each folder what it takes to make them
    again, since a server may forget them between two methods, and since a folder may have been
    filled on an earlier run.

    Articles are known by their index in the snapshot.
    """

    name: str

    @abstractmethod
    def project(
        self, folder: Path, incidence: Csr, *, keys: Sequence[str], vector_property: str
    ) -> Summary:
        """Make the membership graph ready for the other methods.

        Parameters
        ----------
        folder : pathlib.Path
            Takes what this engine's :meth:`similarity` needs.
        incidence : csr_array, shape [n_articles, n_lists]
            Which article is in which list.
        keys : sequence of str, length n_articles
            The articles' keys in the store, in the order of the snapshot.
        vector_property : str
            The property of the articles in the store that holds their vectors; empty when the
            store holds none.

        Returns
        -------
        dict
            ``articles``, ``lists``, ``memberships``, ``articles_in_no_list``.
        """

    @abstractmethod
    def similarity(self, folder: Path, projection: Path, config: SimilarityConfig) -> Summary:
        """Join articles by the Jaccard similarity of their lists.

        Fills `folder` with ``degrees.npy``, int64 [n_articles]: how many neighbours each article
        keeps, at most its own `top_k`. The neighbours stay where the engine computes.

        Returns
        -------
        dict
            ``relationships``, ``articles_joined``, ``largest_degree``.
        """

    @abstractmethod
    def components(self, folder: Path, similarity: Path) -> Summary:
        """Find the weakly connected components.

        Fills `folder` with ``labels.npy``, int32 [n_articles].

        Returns
        -------
        dict
            ``components``, ``largest_component`` (articles), ``start_node`` (an index in the
            largest component; None when there are no articles).
        """

    @abstractmethod
    def sample(
        self, folder: Path, similarity: Path, start_node: int | None, config: SampleConfig
    ) -> Summary:
        """Sample articles for training by random walks with restarts from `start_node`.

        Fills `folder` with ``sample.npy``, int32 [sampled], sorted.

        Returns
        -------
        dict
            ``articles``, ``relationships`` (between sampled articles).
        """

    @abstractmethod
    def graphsage(
        self,
        folder: Path,
        similarity: Path,
        sample: Path,
        vectors: Path,
        config: GraphSageConfig,
    ) -> Summary:
        """Train GraphSAGE on the sample and embed every article.

        Fills `folder` with ``embeddings.npy``, float32 [n_articles, dimensions], and, where the
        weights are at hand, ``model/``. When no two articles share a list there is nothing to
        learn from (GDS refuses to train): the embeddings are zeros, and ``trained`` is false.

        Parameters
        ----------
        folder : pathlib.Path
            Takes the result.
        similarity, sample : pathlib.Path
            The folders of :meth:`similarity` and :meth:`sample`.
        vectors : pathlib.Path
            A .npy file, float [n_articles, d], in the order of the snapshot.
        config : GraphSageConfig
            The settings.

        Returns
        -------
        dict
            ``trained`` (bool), ``trained_on`` (articles), ``epoch_losses``, ``epochs``,
            ``converged``, ``zero_embeddings`` (articles).
        """

    @abstractmethod
    def neighbours(self, similarity: Path) -> Csr:
        """Return the neighbours that :meth:`similarity` found, to look at: they may be many.

        Parameters
        ----------
        similarity : pathlib.Path
            The folder of :meth:`similarity`.

        Returns
        -------
        csr_array, shape [n_articles, n_articles], float32
            Row i holds article i's neighbours, sorted by index; the values are Jaccard indices.
        """

    @abstractmethod
    def teardown(self) -> None:
        """Drop what the run still holds outside its folders; may be called again."""

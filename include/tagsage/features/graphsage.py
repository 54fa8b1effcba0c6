"""The block ``graphsage``: the study's graph neural network, trained without labels."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from tagsage.features.base import counted_articles
from tagsage.features.neighbours import (
    ROWS,
    SIMILARITY_SETTINGS,
    NeighbourBlock,
    similarity_config,
)
from tagsage.graph.base import EMBEDDINGS_FILE, MODEL_FOLDER
from tagsage.graph.components import connected_components, start_node
from tagsage.graph.csr import FloatArray
from tagsage.graph.graphsage.config import GraphSageConfig
from tagsage.graph.graphsage.infer import apply_layer, hidden_layers, means_with, unit_rows
from tagsage.graph.graphsage.model import GraphSageModel
from tagsage.graph.graphsage.neighbours import layer_seed, sample_neighbours
from tagsage.graph.graphsage.train import train_on_sample
from tagsage.graph.sampling import random_walk_sample
from tagsage.graph.similarity import SimilarityConfig, jaccard_similarity

if TYPE_CHECKING:
    from tagsage.features.articles import Articles
    from tagsage.graph.csr import Csr
    from tagsage.runner import Runner
    from tagsage.settings import Settings


class GraphSage(NeighbourBlock):
    """The study's GraphSAGE, trained without labels.

    Parameters
    ----------
    similarity, levels
        As for :class:`NeighbourBlock`: the articles' vectors, and what each layer but the last
        makes of them. Without a model, the embeddings themselves.
    dimensions : int
        Numbers in an embedding.
    model : GraphSageModel or None
        None where no weights are at hand: no two articles shared a list, and all embeddings are
        zeros; or Neo4j's GDS trained it, which doesn't give them away. An article then has the
        embedding that GDS made, and one that came later the mean of its neighbours'.
    """

    name: ClassVar[str] = "graphsage"
    settings: ClassVar[tuple[str, ...]] = (
        *SIMILARITY_SETTINGS,
        "sample_ratio",
        "sample_restart_probability",
        "graphsage_dimensions",
        "graphsage_sample_sizes",
        "graphsage_search_depth",
        "graphsage_epochs",
        "graphsage_max_iterations",
        "graphsage_learning_rate",
        "graphsage_batch_size",
        "graphsage_activation",
        "graphsage_aggregator",
        "graphsage_negative_weight",
        "graphsage_tolerance",
        "graphsage_penalty_l2",
        "seed",
    )

    def __init__(
        self,
        similarity: SimilarityConfig,
        levels: list[FloatArray],
        dimensions: int,
        model: GraphSageModel | None,
    ) -> None:
        super().__init__(similarity, levels)
        self.dimensions, self.model = dimensions, model

    @classmethod
    def fit(
        cls,
        articles: Articles,
        settings: Settings,
        runner: Runner,
        *,
        trained: Path | None = None,
    ) -> Self:
        """Train on a sample of the counted articles, unless an engine has `trained` already."""
        del runner
        similarity = similarity_config(settings)
        config = graphsage_config(settings)
        counted = counted_articles(articles)
        known: Any = articles.known
        if trained is not None and not (trained / MODEL_FOLDER).is_dir():
            embeddings = np.load(trained / EMBEDDINGS_FILE, mmap_mode="r", allow_pickle=False)
            return cls(similarity, [embeddings], config.dimensions, None)
        graph = jaccard_similarity(known.members, **asdict(similarity))
        if trained is not None:
            model = GraphSageModel.load(trained / MODEL_FOLDER)
        elif not graph.nnz:
            return cls(similarity, [], config.dimensions, None)
        else:
            model = _train(graph, counted.vectors, settings, config)
        levels = [np.asarray(counted.vectors, dtype=np.float32)]
        layers = hidden_layers(model, graph, levels[0], seed=config.seed)
        # What the last layer makes of an article is given to no one.
        levels += [next(layers) for _ in range(len(model.weights) - 1)]
        return cls(similarity, levels, config.dimensions, model)

    def transform(self, articles: Articles) -> tuple[FloatArray]:
        """Return the embeddings, float32 [n, dimensions]; rows of length 1 or zero."""
        result = np.zeros((len(articles), self.dimensions), dtype=np.float32)
        for start in range(0, len(articles) if self.levels else 0, ROWS):
            part = articles.take(slice(start, start + ROWS))
            result[start : start + ROWS] = self._embed(part)
        return (result,)

    def _embed(self, articles: Articles) -> FloatArray:
        graph = self.neighbours(articles)
        nodes = np.arange(len(articles))
        places: Any = articles.places
        # All that came later draw their neighbours by the next number.
        keys = np.where(places >= 0, places, len(self.levels[0]))
        if self.model is None:
            return self._as_given(graph, places, keys)
        own: npt.NDArray[np.floating] = np.asarray(articles.vectors, dtype=np.float32)
        seed = self.model.config.seed
        for layer, values in enumerate(self.levels):
            own = apply_layer(self.model, layer, own, graph, nodes, values, seed=seed, keys=keys)
        return unit_rows(own.astype(np.float32))

    def _as_given(
        self, graph: Csr, places: npt.NDArray[np.int64], keys: npt.NDArray[np.int64]
    ) -> FloatArray:
        embeddings = self.levels[0]
        result = np.zeros((len(places), self.dimensions), dtype=np.float32)
        result[places >= 0] = embeddings[places[places >= 0]]
        new = np.flatnonzero(places < 0)
        sampled = sample_neighbours(graph, new, 10, layer_seed(0, 0, 0), keys[new])
        means = means_with(np.zeros((len(new), self.dimensions), np.float32), *sampled, embeddings)
        result[new] = unit_rows(means)
        return result

    def save(self, folder: Path) -> None:
        """Write the levels and the model."""
        super().save(folder)
        (folder / "dimensions.json").write_text(json.dumps(self.dimensions), encoding="utf-8")
        if self.model is not None:
            self.model.save(folder / MODEL_FOLDER)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        trained = folder / MODEL_FOLDER
        model = GraphSageModel.load(trained) if trained.is_dir() else None
        dimensions = json.loads((folder / "dimensions.json").read_text(encoding="utf-8"))
        return cls(*cls._read(folder), dimensions, model)


def graphsage_config(settings: Settings) -> GraphSageConfig:
    """Return how GraphSAGE is trained."""
    return GraphSageConfig(
        dimensions=settings.graphsage_dimensions,
        sample_sizes=settings.sample_sizes(),
        search_depth=settings.graphsage_search_depth,
        epochs=settings.graphsage_epochs,
        max_iterations=settings.graphsage_max_iterations,
        learning_rate=settings.graphsage_learning_rate,
        batch_size=settings.graphsage_batch_size,
        activation=settings.graphsage_activation,
        aggregator=settings.graphsage_aggregator,
        negative_weight=settings.graphsage_negative_weight,
        tolerance=settings.graphsage_tolerance,
        penalty_l2=settings.graphsage_penalty_l2,
        seed=settings.seed,
    )


def _train(
    graph: Csr,
    vectors: npt.NDArray[np.floating],
    settings: Settings,
    config: GraphSageConfig,
) -> GraphSageModel:
    """Train on a sample by random walks; on the whole graph where no two of it are joined."""
    start = start_node(connected_components(graph), np.diff(graph.indptr))
    nodes = random_walk_sample(
        graph,
        [start],
        ratio=settings.sample_ratio,
        restart_probability=settings.sample_restart_probability,
        seed=settings.seed,
    )
    return train_on_sample(graph, vectors, nodes, config)[0]

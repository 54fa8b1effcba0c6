"""The block ``graphsage``: the study's graph neural network, trained without labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from tagsage.features.neighbours import (
    SIMILARITY_SETTINGS,
    NeighbourBlock,
    similarity_graph,
    similarity_settings,
)
from tagsage.graph.components import connected_components, start_node
from tagsage.graph.compute import EMBEDDINGS_FILE, MODEL_FOLDER
from tagsage.graph.csr import FloatArray
from tagsage.graph.graphsage.model import (
    GraphSageModel,
    apply_layer,
    hidden_layers,
    layer_seed,
    means_with,
    sample_neighbours,
    unit_rows,
)
from tagsage.graph.graphsage.train import train_on_sample
from tagsage.graph.sampling import random_walk_sample

if TYPE_CHECKING:
    from tagsage.features.articles import MarkedArticles
    from tagsage.graph.csr import Csr
    from tagsage.runner import Runner
    from tagsage.settings import Settings

# Neighbours whose embeddings are averaged for a new article where there is no model.
AVERAGED = 10


class GraphSage(NeighbourBlock):
    """The study's GraphSAGE, trained without labels.

    `model` is None when no two articles shared a list (embeddings are zeros), or when Neo4j's GDS
    trained it, which doesn't export weights: later articles then have their neighbours' mean.
    Levels (:class:`NeighbourBlock`) are the inputs of the layers; without a model, the embeddings.
    """

    name: ClassVar[str] = "graphsage"
    settings: ClassVar[tuple[str, ...]] = (
        *SIMILARITY_SETTINGS,
        "sample_ratio",
        "graphsage_dimensions",
        "graphsage_sample_sizes",
        "graphsage_search_depth",
        "graphsage_epochs",
        "graphsage_learning_rate",
        "graphsage_batch_size",
        "graphsage_activation",
        "graphsage_aggregator",
        "seed",
    )

    def __init__(
        self, dimensions: int, model: GraphSageModel | None = None, **neighbours: Any
    ) -> None:
        super().__init__(**neighbours)
        self.dimensions, self.model = dimensions, model

    @classmethod
    def fit(cls, articles: MarkedArticles, settings: Settings, runner: Runner) -> Self:
        """Train on a sample of the counted articles."""
        del runner
        graph = similarity_graph(articles, settings)
        if not graph.nnz:
            return cls._with_levels([], None, settings)
        start = start_node(connected_components(graph), np.diff(graph.indptr))
        nodes = random_walk_sample(graph, start, ratio=settings.sample_ratio, seed=settings.seed)
        vectors = articles.only_counted().vectors
        model, _ = train_on_sample(graph, vectors, nodes, settings)
        return cls._of_model(model, graph, vectors, settings)

    @classmethod
    def of_study(cls, articles: MarkedArticles, settings: Settings, folder: Path) -> Self:
        """Take what :func:`tagsage.graph.compute.compute_graph` made of the same articles."""
        if not (folder / MODEL_FOLDER).is_dir():
            embeddings = np.load(folder / EMBEDDINGS_FILE, mmap_mode="r", allow_pickle=False)
            return cls._with_levels([embeddings], None, settings)
        model = GraphSageModel.load(folder / MODEL_FOLDER)
        graph = similarity_graph(articles, settings)
        return cls._of_model(model, graph, articles.only_counted().vectors, settings)

    @classmethod
    def _of_model(
        cls,
        model: GraphSageModel,
        graph: Csr,
        vectors: npt.NDArray[np.floating],
        settings: Settings,
    ) -> Self:
        levels = [np.asarray(vectors, dtype=np.float32)]
        layers = hidden_layers(model, graph, levels[0])
        # What the last layer makes of an article is given to no one.
        levels += [next(layers) for _ in range(len(model.weights) - 1)]
        return cls._with_levels(levels, model, settings)

    @classmethod
    def _with_levels(
        cls, levels: list[FloatArray], model: GraphSageModel | None, settings: Settings
    ) -> Self:
        joined = similarity_settings(settings)
        return cls(settings.graphsage_dimensions, model, levels=levels, **joined)

    def embed(self, articles: MarkedArticles, neighbours: Csr) -> FloatArray:
        """Embed some articles; rows of length 1 or zero."""
        nodes, places = np.arange(len(articles)), articles.places
        # All that came later draw their neighbours by the next number.
        keys = np.where(places >= 0, places, len(self.levels[0]))
        if self.model is None:
            return self._from_embeddings(neighbours, places, keys)
        own: npt.NDArray[np.floating] = np.asarray(articles.vectors, dtype=np.float32)
        for layer, values in enumerate(self.levels):
            own = apply_layer(self.model, layer, own, neighbours, nodes, values, keys=keys)
        return unit_rows(own.astype(np.float32))

    def _from_embeddings(
        self, neighbours: Csr, places: npt.NDArray[np.int64], keys: npt.NDArray[np.int64]
    ) -> FloatArray:
        embeddings = self.levels[0]
        result = np.zeros((len(places), self.dimensions), dtype=np.float32)
        result[places >= 0] = embeddings[places[places >= 0]]
        new = np.flatnonzero(places < 0)
        sampled = sample_neighbours(neighbours, new, AVERAGED, layer_seed(0, 0, 0), keys[new])
        means = means_with(np.zeros((len(new), self.dimensions), np.float32), *sampled, embeddings)
        result[new] = unit_rows(means)
        return result

    def state(self) -> dict[str, Any]:
        """Return the levels; the model has a folder of its own."""
        return {**super().state(), "dimensions": self.dimensions}

    def save(self, folder: Path) -> None:
        """Write the levels and the model."""
        super().save(folder)
        if self.model is not None:
            self.model.save(folder / MODEL_FOLDER)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        block = super().load(folder)
        if (folder / MODEL_FOLDER).is_dir():
            block.model = GraphSageModel.load(folder / MODEL_FOLDER)
        return block

"""The settings of GraphSAGE; the defaults are the study's."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tagsage.errors import TagsageError

AGGREGATORS = ("mean", "pool")
ACTIVATIONS = ("relu", "sigmoid")

# Workers of a GDS server without a licence. There the default number of batches an iteration
# depends on it; here it is fixed, so that numbers do not depend on the machine.
GDS_CONCURRENCY = 4

# Constants of GDS: the slope of leaky relu below 0, and what keeps a zero row from division by 0.
LEAK = 0.01
NORM_EPSILON = 1e-10


@dataclass(frozen=True)
class GraphSageConfig:
    """How GraphSAGE is trained; names and meaning follow ``graphSage.train`` of Neo4j GDS.

    Attributes
    ----------
    dimensions : int
        Numbers in an embedding.
    sample_sizes : tuple of int
        Neighbours sampled a node, one entry a layer; the last entry is for direct neighbours.
    search_depth : int
        Longest random walk to a positive example.
    epochs : int
        Most epochs; Adam starts anew and neighbours are sampled anew in each.
    max_iterations : int
        Most iterations (steps of the optimiser) an epoch.
    learning_rate : float
        Adam's learning rate.
    batch_size : int
        Nodes a batch.
    activation : {"relu", "sigmoid"}
        relu is leaky, with slope 0.01.
    aggregator : {"mean", "pool"}
        Mean of a node and its neighbours, or the largest of transformed neighbours.
    negative_weight : float
        Weight of negative examples in the loss.
    tolerance : float
        Training ends when the loss of two iterations differs by less.
    penalty_l2 : float
        Weight of the squared weights in the loss.
    seed : int
        Seed of everything random.
    batch_sampling_ratio : float, optional
        Share of all batches drawn (with repetition) an iteration. By default
        ``min(1, 4 * batch_size / nodes)``, GDS's value at four workers.
    """

    dimensions: int = 256
    sample_sizes: tuple[int, ...] = (10, 10)
    search_depth: int = 15
    epochs: int = 20
    max_iterations: int = 10
    learning_rate: float = 1e-4
    batch_size: int = 10
    activation: str = "relu"
    aggregator: str = "mean"
    negative_weight: float = 20.0
    tolerance: float = 1e-4
    penalty_l2: float = 0.0
    seed: int = 42
    batch_sampling_ratio: float | None = None

    def __post_init__(self) -> None:
        for name in ("dimensions", "search_depth", "epochs", "max_iterations", "batch_size"):
            if getattr(self, name) < 1:
                msg = f"graphsage: {name} must be at least 1, not {getattr(self, name)}."
                raise TagsageError(msg)
        if not self.sample_sizes or min(self.sample_sizes) < 1:
            msg = (
                "graphsage: sample_sizes must be one number above 0 for each layer, "
                f"not {self.sample_sizes}."
            )
            raise TagsageError(msg)
        for name, allowed in (("aggregator", AGGREGATORS), ("activation", ACTIVATIONS)):
            if getattr(self, name) not in allowed:
                msg = (
                    f"graphsage: {name} must be one of {', '.join(allowed)}, "
                    f"not {getattr(self, name)!r}."
                )
                raise TagsageError(msg)
        if not self.learning_rate > 0:
            msg = f"graphsage: learning_rate must be above 0, not {self.learning_rate}."
            raise TagsageError(msg)
        for name in ("negative_weight", "tolerance", "penalty_l2"):
            if not getattr(self, name) >= 0:
                msg = f"graphsage: {name} must be at least 0, not {getattr(self, name)}."
                raise TagsageError(msg)
        ratio = self.batch_sampling_ratio
        if ratio is not None and not 0 < ratio <= 1:
            msg = f"graphsage: batch_sampling_ratio must be in (0, 1], not {ratio}."
            raise TagsageError(msg)

    def batches(self, nodes: int) -> int:
        """Return how many batches cut a graph of `nodes` nodes."""
        return math.ceil(nodes / self.batch_size)

    def batches_per_iteration(self, nodes: int) -> int:
        """Return how many batches are drawn for each step of the optimiser."""
        ratio = self.batch_sampling_ratio
        if ratio is None:
            ratio = min(1.0, self.batch_size * GDS_CONCURRENCY / nodes)
        return math.ceil(ratio * self.batches(nodes))

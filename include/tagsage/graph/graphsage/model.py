"""A trained GraphSAGE model: weights, settings and losses; arrays and JSON on disk."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from tagsage.errors import TagsageError
from tagsage.graph.graphsage.config import GraphSageConfig

if TYPE_CHECKING:
    from tagsage.graph.csr import FloatArray

MODEL_FILE = "model.json"


@dataclass(frozen=True)
class GraphSageModel:
    """A GraphSAGE model.

    Attributes
    ----------
    config : GraphSageConfig
        How it was trained.
    weights : list of dict of float32 arrays
        One dict a layer, first to last. Aggregator "mean": ``weights`` [d, in]; "pool": ``pool``
        [d, in], ``bias`` [d], ``self`` [d, in], ``neighbours`` [d, d].
    iteration_losses : list of list of float
        The mean loss a node of every iteration, by epoch, before that iteration's step.
    converged : bool
        Whether training ended because the loss stood still.
    """

    config: GraphSageConfig
    weights: list[dict[str, FloatArray]]
    iteration_losses: list[list[float]] = field(default_factory=list)
    converged: bool = False

    @property
    def features(self) -> int:
        """How many numbers an article's vector has."""
        first = self.weights[0]
        return int(first["weights" if "weights" in first else "self"].shape[1])

    @property
    def epoch_losses(self) -> list[float]:
        """The loss of each epoch's last iteration, as GDS reports it."""
        return [losses[-1] for losses in self.iteration_losses]

    def save(self, folder: Path) -> None:
        """Write the model: one .npy file a weight, and ``model.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        names = []
        for number, layer in enumerate(self.weights):
            for name, value in sorted(layer.items()):
                names.append([number, name])
                np.save(folder / f"layer{number}_{name}.npy", value)
        content = {
            "config": asdict(self.config),
            "weights": names,
            "iteration_losses": self.iteration_losses,
            "converged": self.converged,
        }
        (folder / MODEL_FILE).write_text(json.dumps(content, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a model that :meth:`save` wrote.

        Raises
        ------
        TagsageError
            When the folder holds no model.
        """
        try:
            content = json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))
            settings = dict(content["config"])
            settings["sample_sizes"] = tuple(settings["sample_sizes"])
            weights: list[dict[str, FloatArray]] = [{} for _ in settings["sample_sizes"]]
            for number, name in content["weights"]:
                file = folder / f"layer{number}_{name}.npy"
                weights[number][name] = np.load(file, allow_pickle=False)
            return cls(
                config=GraphSageConfig(**settings),
                weights=weights,
                iteration_losses=content["iteration_losses"],
                converged=content["converged"],
            )
        except (OSError, ValueError, EOFError, KeyError, TypeError, IndexError) as error:
            msg = f"Cannot read a GraphSAGE model in {folder} ({error}); train it again."
            raise TagsageError(msg) from error


def initial_weights(config: GraphSageConfig, features: int) -> list[dict[str, FloatArray]]:
    """Draw the weights that training starts from.

    Uniform in ±sqrt(2 / columns) for relu, ±sqrt(2 / (rows + columns)) for sigmoid; biases are 0.

    Parameters
    ----------
    config : GraphSageConfig
        Dimensions, layers, aggregator, activation, seed.
    features : int
        How many numbers an article's vector has.

    Returns
    -------
    list of dict of float32 arrays
        As in :class:`GraphSageModel`.
    """
    random = np.random.default_rng([config.seed, 0x5730])
    d = config.dimensions

    def uniform(columns: int) -> FloatArray:
        fan = columns if config.activation == "relu" else d + columns
        bound = np.sqrt(2 / fan)
        return random.uniform(-bound, bound, size=(d, columns)).astype(np.float32)

    layers: list[dict[str, FloatArray]] = []
    for number in range(len(config.sample_sizes)):
        columns = features if number == 0 else d
        if config.aggregator == "mean":
            layers.append({"weights": uniform(columns)})
        else:
            layers.append({
                "pool": uniform(columns),
                "bias": np.zeros(d, dtype=np.float32),
                "self": uniform(columns),
                "neighbours": uniform(d),
            })
    return layers

"""The network in JAX: forward pass, loss, one step of the optimiser.

Imported only where a model is trained: JAX must not be loaded in a process that forks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from tagsage.graph.graphsage.config import LEAK, NORM_EPSILON

Weights = list[dict[str, jax.Array]]

GRADIENT_LIMIT = 5.0
ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8


class Tree(NamedTuple):
    """The sampled neighbourhood of the target nodes, layer by layer.

    Attributes
    ----------
    features : float32, shape [rows, f]
        Aggregator "mean": the first layer's means, one row a node of that layer. "pool": the
        features of all the nodes that the first layer reads.
    members : int32, shape [t_1, 1 + s_1]
        "pool": the rows of `features` of each node of the first layer: itself, its neighbours.
        "mean": empty.
    masks : tuple of float32, shapes [t_l, 1 + s_l]
        For every layer ("mean": from the second on), 1 where a slot holds the node itself (first
        column) or a neighbour, 0 where it is empty. Layer l's input has t_l * (1 + s_l) rows.
    """

    features: npt.NDArray[np.float32] | jax.Array
    members: npt.NDArray[np.int32] | jax.Array
    masks: tuple[npt.NDArray[np.float32] | jax.Array, ...]


class Optimiser(NamedTuple):
    """State of Adam: first and second moments, number of steps."""

    first: Weights
    second: Weights
    steps: jax.Array


ACTIVATION: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": lambda x: jnp.where(x > 0, x, LEAK * x),
    "sigmoid": jax.nn.sigmoid,
}


def forward(weights: Weights, tree: Tree, *, aggregator: str, activation: str) -> jax.Array:
    """Embed the target nodes.

    MEAN: h' = act(W mean(h of the node and its sampled neighbours)).
    POOL: h' = act(W_self h + W_neighbours max over sampled neighbours of act(W_pool h + bias)).
    The last layer's rows are divided by their length (Hamilton et al.: Inductive representation
    learning on large graphs. NIPS 2017; constants as in Neo4j GDS).

    Returns
    -------
    jax.Array, shape [targets, dimensions]
    """
    act = ACTIVATION[activation]
    hidden = jnp.asarray(tree.features)
    if aggregator == "mean":
        hidden = act(hidden @ weights[0]["weights"].T)
        for layer, mask in zip(weights[1:], tree.masks, strict=True):
            grouped = hidden.reshape(*mask.shape, -1)
            means = (grouped * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
            hidden = act(means @ layer["weights"].T)
    else:
        for number, (layer, mask) in enumerate(zip(weights, tree.masks, strict=True)):
            pooled = act(hidden @ layer["pool"].T + layer["bias"])
            if number == 0:
                own, pooled = hidden[tree.members[:, 0]], pooled[tree.members[:, 1:]]
            else:
                own = hidden.reshape(*mask.shape, -1)[:, 0]
                pooled = pooled.reshape(*mask.shape, -1)[:, 1:]
            present = mask[:, 1:, None] > 0
            largest = jnp.where(present, pooled, -jnp.inf).max(axis=1)
            largest = jnp.where(present.any(axis=1), largest, 0.0)
            hidden = act(own @ layer["self"].T + largest @ layer["neighbours"].T)
    return _normalise(hidden)


def _normalise(rows: jax.Array) -> jax.Array:
    squares = (rows * rows).sum(axis=1, keepdims=True)
    # The root's slope at 0 is infinite and would make the gradient of a zero row NaN.
    positive = squares > 0
    length = jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1.0)), 0.0)
    return rows / (length + NORM_EPSILON)


def loss(
    weights: Weights,
    tree: Tree,
    share: jax.Array,
    *,
    aggregator: str,
    activation: str,
    negative_weight: float,
    penalty: float | jax.Array,
) -> jax.Array:
    """Return the mean loss a node: -log s(z.z_pos) - negative_weight * log s(-z.z_neg) + penalty.

    Parameters
    ----------
    weights : list of dict of arrays
        The weights.
    tree : Tree
        Of nodes, then their positive, then their negative examples.
    share : float32, shape [targets / 3]
        The weight of each node in the mean.
    aggregator, activation, negative_weight
        See GraphSageConfig.
    penalty : float
        Factor of the sum of all squared weights (biases left out).
    """
    embeddings = forward(weights, tree, aggregator=aggregator, activation=activation)
    nodes, positives, negatives = embeddings.reshape(3, len(share), -1)
    attraction = jax.nn.softplus(-(nodes * positives).sum(axis=1))
    repulsion = jax.nn.softplus((nodes * negatives).sum(axis=1))
    total = (share * (attraction + negative_weight * repulsion)).sum()
    matrices = [value for layer in weights for name, value in layer.items() if name != "bias"]
    squares = sum(((matrix**2).sum() for matrix in matrices), start=jnp.zeros(()))
    return total + penalty * squares


def start_optimiser(weights: Weights) -> Optimiser:
    """Return the state of Adam before its first step."""
    # Made by numpy: outside a compiled function jax.numpy compiles each small operation by itself.
    zeros = jax.tree.map(lambda w: jax.device_put(np.zeros(w.shape, w.dtype)), weights)
    return Optimiser(zeros, zeros, jax.device_put(np.zeros((), dtype=np.int32)))


@partial(
    jax.jit,
    static_argnames=("aggregator", "activation", "negative_weight", "learning_rate"),
)
def training_step(
    weights: Weights,
    optimiser: Optimiser,
    tree: Tree,
    share: jax.Array,
    *,
    aggregator: str,
    activation: str,
    negative_weight: float,
    penalty: float | jax.Array,
    learning_rate: float,
) -> tuple[Weights, Optimiser, jax.Array]:
    """Return weights and optimiser after one step of Adam, and the loss before it.

    Gradients are clipped to +-5 each (Kingma and Ba: Adam. ICLR 2015; as in Neo4j GDS).
    """
    value, gradients = jax.value_and_grad(loss)(
        weights,
        tree,
        share,
        aggregator=aggregator,
        activation=activation,
        negative_weight=negative_weight,
        penalty=penalty,
    )
    gradients = jax.tree.map(lambda g: jnp.clip(g, -GRADIENT_LIMIT, GRADIENT_LIMIT), gradients)
    steps = optimiser.steps + 1
    beta_1, beta_2 = ADAM_BETAS
    first = jax.tree.map(lambda m, g: beta_1 * m + (1 - beta_1) * g, optimiser.first, gradients)
    second = jax.tree.map(
        lambda v, g: beta_2 * v + (1 - beta_2) * g * g, optimiser.second, gradients
    )
    correct_1, correct_2 = 1 - beta_1**steps, 1 - beta_2**steps
    weights = jax.tree.map(
        lambda w, m, v: (
            w - learning_rate * (m / correct_1) / (jnp.sqrt(v / correct_2) + ADAM_EPSILON)
        ),
        weights,
        first,
        second,
    )
    return weights, Optimiser(first, second, steps), value

"""The network in JAX: forward pass, loss, one step of the optimiser.

Imported only where a model is trained, because JAX must not be loaded in a process that forks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax

from tagsage.graph.graphsage.model import LEAK, NORM_EPSILON
from tagsage.jax_cache import keep_compiled_programs

keep_compiled_programs()

Weights = list[dict[str, jax.Array]]

# As in GDS.
GRADIENT_LIMIT = 5.0
NEGATIVE_WEIGHT = 20.0

ACTIVATION: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": lambda x: jnp.where(x > 0, x, LEAK * x),
    "sigmoid": jax.nn.sigmoid,
}


class Tree(NamedTuple):
    """The sampled neighbourhood of the target nodes, layer by layer.

    With aggregator "mean", `features` [rows, f] has the first layer's means, one row per node of
    that layer; `members` is empty. With "pool", it has the vectors of all nodes that the first
    layer reads, and `members` [t_1, 1 + s_1] has its rows for each node of that layer: itself, its
    neighbours. `masks` [t_l, 1 + s_l], for every layer ("mean": from the second on), have 1 where a
    slot holds the node itself (first column) or a neighbour, 0 where it is empty.
    """

    features: npt.NDArray[np.float32] | jax.Array
    members: npt.NDArray[np.int32] | jax.Array
    masks: tuple[npt.NDArray[np.float32] | jax.Array, ...]


def optimiser(learning_rate: float) -> Any:
    """Return Adam with gradients clipped to ±5 each, as in Neo4j GDS."""
    return optax.chain(optax.clip(GRADIENT_LIMIT), optax.adam(learning_rate))


def forward(weights: Weights, tree: Tree, *, activation: str) -> jax.Array:
    """Embed the target nodes, [targets, dimensions].

    MEAN: h' = act(W mean(h of the node and its sampled neighbours)).
    POOL: h' = act(W_self h + W_neighbours max over sampled neighbours of act(W_pool h + bias)).
    The last layer's rows are divided by their length (Hamilton et al.: Inductive representation
    learning on large graphs. NIPS 2017; constants as in Neo4j GDS).
    """
    act = ACTIVATION[activation]
    hidden = jnp.asarray(tree.features)
    if "weights" in weights[0]:
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


def loss(weights: Weights, tree: Tree, share: jax.Array, *, activation: str) -> jax.Array:
    """Return the mean loss per node: -log s(z.z_pos) - 20 log s(-z.z_neg).

    `tree` has the nodes, then their positive, then their negative examples; `share` [targets / 3]
    is each node's weight in the mean.
    """
    nodes, positives, negatives = forward(weights, tree, activation=activation).reshape(
        3, len(share), -1
    )
    attraction = jax.nn.softplus(-(nodes * positives).sum(axis=1))
    repulsion = jax.nn.softplus((nodes * negatives).sum(axis=1))
    return (share * (attraction + NEGATIVE_WEIGHT * repulsion)).sum()


@partial(jax.jit, static_argnames=("activation", "learning_rate"))
def training_step(
    weights: Weights,
    state: Any,
    tree: Tree,
    share: jax.Array,
    *,
    activation: str,
    learning_rate: float,
) -> tuple[Weights, Any, jax.Array]:
    """Return weights and optimiser state after one step, and the loss before it."""
    value, gradients = jax.value_and_grad(loss)(weights, tree, share, activation=activation)
    updates, state = optimiser(learning_rate).update(gradients, state)
    return optax.apply_updates(weights, updates), state, value

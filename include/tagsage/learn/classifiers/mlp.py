"""One network for all tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tagsage.features.matrix import (
    BoolArray,
    FeatureMatrix,
    FloatArray,
    IndexArray,
    row_blocks,
    unit_blocks,
    unit_rows,
)
from tagsage.graph.arrays import sigmoid
from tagsage.jax_cache import keep_compiled_programs
from tagsage.learn.classifiers.base import PREDICT_ROWS, Classifier, Range, Validation
from tagsage.progress import track

keep_compiled_programs()

Weights = dict[str, jax.Array]

# Share of a block's mean square that its variance counts as at least.
LEAST_VARIANCE = 0.05**2


class Mlp(Classifier):
    """A network with one hidden layer, trained on all tags at once by binary cross-entropy.

    z = W2 dropout(relu(W1 s(x) + b1)) + b2, probability = sigmoid(z). The scaling s: each row of a
    block, except memberships, gets unit length, because the mean over an article's lists is shorter
    the more they disagree, and only its direction counts. Then columns are centred and each block
    is divided by its root mean square, so that blocks weigh alike while a block's small directions
    stay small. AdamW with weight decay on the matrices; b2 starts at the tags' log odds; the final
    weights are a moving average over the steps (Polyak averaging).

    With validation articles it stops when their loss has not fallen for `patience` epochs, and
    takes the best epoch's weights; otherwise it trains for `epochs`. The last, incomplete batch of
    an epoch is left out; epochs are shuffled differently.
    """

    name: ClassVar[str] = "mlp"
    defaults: ClassVar[Mapping[str, Any]] = {
        "hidden": 512,
        "dropout": 0.6,
        "learning_rate": 2e-3,
        "weight_decay": 0.3,
        "batch_size": 512,
        "average": 0.99,
        "epochs": 10,
        "max_epochs": 60,
        "patience": 4,
    }
    space: ClassVar[Mapping[str, Range]] = {
        "dropout": Range(0.2, 0.8),
        "learning_rate": Range(3e-4, 3e-3, log=True),
        "weight_decay": Range(0.03, 3.0, log=True),
    }

    def _fit(
        self, X: FeatureMatrix, rows: IndexArray, Y: BoolArray, validation: Validation | None
    ) -> None:
        settings = self.settings
        rng = np.random.default_rng(self.seed)
        unit = unit_blocks(X)
        mean, scale = _scaling(X, rows, unit)
        # A column that never varies says nothing: let none of its noise through.
        factor = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
        weights = _initial_weights(rng, X.shape[1], settings["hidden"], Y)
        step, optimizer = _make_step(
            *(settings[key] for key in ("learning_rate", "weight_decay", "dropout", "average"))
        )
        key = jax.random.key(self.seed)
        state, averaged = optimizer.init(weights), jax.tree.map(jnp.copy, weights)
        batch = min(settings["batch_size"], len(rows))
        done, losses = 0, []
        best_loss, best_epoch, best = np.inf, 0, _copied(averaged)
        epochs = settings["max_epochs"] if validation else settings["epochs"]
        for epoch in track(range(1, epochs + 1), "training mlp: epochs"):
            order = rng.permutation(len(rows))
            for first in range(0, len(rows) - batch + 1, batch):
                chosen = order[first : first + batch]
                # Scaled here, not in the compiled step: that one knows nothing of the data, so
                # the next fit of the same shape need not compile it again.
                x = (unit_rows(X.rows(rows[chosen]), X.block_widths, unit) - mean) * factor
                weights, state, averaged = step(weights, state, averaged, x, Y[chosen], key, done)
                done += 1
            if validation is None:
                best_epoch, best = epoch, _copied(averaged)
                continue
            self._keep(averaged, mean, factor, X)
            losses.append(self._validation_loss(X, validation))
            if losses[-1] < best_loss:
                best_loss, best_epoch, best = losses[-1], epoch, _copied(averaged)
            elif epoch - best_epoch >= settings["patience"]:
                break
        self._keep(best, mean, factor, X)
        self.fitted |= {"epochs": best_epoch, "validation_losses": losses}

    def _keep(
        self, weights: Mapping[str, Any], mean: FloatArray, factor: FloatArray, X: FeatureMatrix
    ) -> None:
        """Keep the weights as arrays, with the scaling of the input folded into the first layer."""
        plain = {name: np.asarray(value) for name, value in weights.items()}
        first = factor[:, None] * plain["W1"]
        self.arrays = {
            "W1": first,
            "b1": plain["b1"] - mean @ first,
            "W2": plain["W2"],
            "b2": plain["b2"],
            "block_widths": np.array(X.block_widths, dtype=np.int64),
            "unit_blocks": np.array(unit_blocks(X), dtype=np.bool_),
        }

    def _predict(self, features: FloatArray) -> FloatArray:
        widths = self.arrays["block_widths"].tolist()
        unit = self.arrays["unit_blocks"].tolist()
        features = unit_rows(features, widths, unit)
        hidden = np.maximum(features @ self.arrays["W1"] + self.arrays["b1"], 0)
        return sigmoid(hidden @ self.arrays["W2"] + self.arrays["b2"])

    def _validation_loss(self, X: FeatureMatrix, validation: Validation) -> float:
        total = 0.0
        for part, block in row_blocks(validation.rows, PREDICT_ROWS):
            P = np.clip(self._predict(X.rows(block)), 1e-7, 1 - 1e-7)
            total -= float(np.log(np.where(validation.Y[part], P, 1 - P)).sum(dtype=np.float64))
        return total / len(validation.rows)


def _copied(weights: Weights) -> dict[str, FloatArray]:
    """Copy the weights, because the next step overwrites its input."""
    return {name: np.array(value) for name, value in weights.items()}


def _scaling(
    X: FeatureMatrix, rows: IndexArray, unit: Sequence[bool]
) -> tuple[FloatArray, FloatArray]:
    """Return each column's mean, and its block's root mean square about it, over some rows.

    The latter has a lower bound, because a block that hardly varies can mislead: where one list
    holds all articles, its labels without an article's own are the own ones, negated.
    """
    total = np.zeros(X.shape[1])
    squares = np.zeros(X.shape[1])
    for _, block in row_blocks(rows, PREDICT_ROWS):
        scaled = unit_rows(X.rows(block), X.block_widths, unit)
        total += scaled.sum(axis=0, dtype=np.float64)
    mean = total / len(rows)
    for _, block in row_blocks(rows, PREDICT_ROWS):
        scaled = unit_rows(X.rows(block), X.block_widths, unit)
        squares += np.square(scaled - mean).sum(axis=0)
    variance = squares / len(rows)
    scale = np.zeros(X.shape[1])
    first = 0
    for width in X.block_widths:
        block_columns = slice(first, first + width)
        first += width
        if width:
            about_mean = variance[block_columns].mean()
            about_zero = about_mean + np.square(mean[block_columns]).mean()
            scale[block_columns] = np.sqrt(max(about_mean, LEAST_VARIANCE * about_zero))
    return mean.astype(np.float32), scale.astype(np.float32)


def _initial_weights(rng: np.random.Generator, features: int, hidden: int, Y: BoolArray) -> Weights:
    share = np.clip(Y.mean(axis=0), 1e-4, 1 - 1e-4)
    return {
        "W1": jnp.asarray(rng.normal(0, np.sqrt(2 / features), (features, hidden)), jnp.float32),
        "b1": jnp.zeros(hidden, jnp.float32),
        "W2": jnp.asarray(rng.normal(0, np.sqrt(1 / hidden), (hidden, Y.shape[1])), jnp.float32),
        "b2": jnp.asarray(np.log(share / (1 - share)), jnp.float32),
    }


@lru_cache(maxsize=8)
def _make_step(
    learning_rate: float, weight_decay: float, dropout: float, average: float
) -> tuple[Callable[..., tuple[Weights, Any, Weights]], optax.GradientTransformation]:
    optimizer = optax.adamw(
        learning_rate,
        weight_decay=weight_decay,
        mask={"W1": True, "b1": False, "W2": True, "b2": False},
    )
    # Random bytes instead of floats: a quarter of the numbers to draw for every mask.
    dropped = round(256 * dropout)
    kept = 256 / (256 - dropped)

    def loss(weights: Weights, x: jax.Array, y: jax.Array, key: jax.Array) -> jax.Array:
        hidden = jax.nn.relu(x @ weights["W1"] + weights["b1"])
        mask = jax.random.bits(key, hidden.shape, jnp.uint8) >= dropped
        z = jnp.where(mask, hidden * kept, 0) @ weights["W2"] + weights["b2"]
        cross_entropy = optax.sigmoid_binary_cross_entropy(z, y.astype(jnp.float32))
        return jnp.asarray(cross_entropy.sum(axis=1).mean())

    # Donated, since the old weights are not needed again: a step then writes in place.
    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def step(
        weights: Weights,
        state: Any,
        averaged: Weights,
        x: jax.Array,
        y: jax.Array,
        key: jax.Array,
        done: int,
    ) -> tuple[Weights, Any, Weights]:
        gradient = jax.grad(loss)(weights, x, y, jax.random.fold_in(key, done))
        updates, state = optimizer.update(gradient, state, weights)
        weights = optax.apply_updates(weights, updates)
        # A short memory at first: the average must not hold on to the initial weights.
        memory = jnp.minimum(average, (1 + done) / (10 + done))
        averaged = jax.tree.map(lambda a, w: memory * a + (1 - memory) * w, averaged, weights)
        return weights, state, averaged

    return step, optimizer

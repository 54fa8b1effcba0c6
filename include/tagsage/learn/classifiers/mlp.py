"""One network for all tags."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tagsage.learn.classifiers.base import PREDICT_ROWS, Classifier, Validation, sigmoid
from tagsage.learn.features import FeatureMatrix, FloatArray, IndexArray, row_blocks
from tagsage.learn.targets import BoolArray
from tagsage.progress import track

Weights = dict[str, jax.Array]


class Mlp(Classifier):
    """A network with one hidden layer, trained on all tags at once by binary cross-entropy.

    z = W2 dropout(relu(W1 s(x) + b1)) + b2, probability = sigmoid(z). The input is centred column
    by column and divided by one number a block, its root mean square, so that blocks of different
    length weigh alike while a block's small directions stay small. AdamW with weight decay on the
    matrices; b2 starts at the tags' log odds; the weights used are a moving average over the steps
    (Polyak averaging). The rows of a batch are read when they are needed.

    A batch falls into `masks` parts whose articles share a dropout mask [1]_. A mask keeps the same
    number of units every time, so that only these units' weights are multiplied: with a dropout of
    0.7, less than a third of the work.

    With validation articles it stops when their loss has not fallen for `patience` epochs, takes
    the best epoch's weights, and tells how many that took; without, it trains for `epochs`. The
    last, incomplete batch of an epoch is left out; epochs are shuffled differently.

    The defaults were chosen on validation parts of the training part of a corpus of 11,260
    labelled articles and 174 tags.

    References
    ----------
    .. [1] B. Graham, J. Reizenstein, L. Robinson: Efficient batchwise dropout training using
       submatrices. 2015. arXiv:1502.02478.
    """

    name: ClassVar[str] = "mlp"
    defaults: ClassVar[Mapping[str, Any]] = {
        "hidden": 1024,
        "dropout": 0.7,
        "masks": 4,
        "learning_rate": 1e-3,
        "weight_decay": 0.3,
        "batch_size": 256,
        "average": 0.99,
        "epochs": 10,
        "max_epochs": 60,
        "patience": 2,
    }

    def _fit(
        self,
        X: FeatureMatrix,
        rows: IndexArray,
        Y: BoolArray,
        validation: Validation | None,
        start: Self | None,
    ) -> None:
        del start
        settings = self.settings
        rng = np.random.default_rng(self.seed)
        mean, scale = _scaling(X, rows)
        # A column that never varies says nothing: let none of its noise through.
        factor = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
        weights = _initial_weights(rng, X.shape[1], settings["hidden"], Y)
        step, optimizer = _make_step(
            *(settings[key] for key in ("learning_rate", "weight_decay", "average"))
        )
        # A step takes over the memory of what it is given: the average needs memory of its own.
        state, averaged = optimizer.init(weights), _copy(weights)
        batch = min(settings["batch_size"], len(rows))
        parts = math.gcd(batch, settings["masks"])
        done, losses = 0, []
        self._keep(averaged, mean, factor)
        best_loss, best_epoch, best = np.inf, 0, self.arrays
        epochs = settings["max_epochs"] if validation else settings["epochs"]
        for epoch in track(range(1, epochs + 1), "training mlp: epochs"):
            order = rng.permutation(len(rows))
            for first in range(0, len(rows) - batch + 1, batch):
                chosen = order[first : first + batch]
                # Scaled here, not in the compiled step: that one knows nothing of the data, so
                # the next fit of the same shape need not compile it again.
                x = (X.rows(rows[chosen]) - mean) * factor
                weights, state, averaged = step(
                    weights,
                    state,
                    averaged,
                    x.reshape(parts, batch // parts, -1),
                    Y[chosen].reshape(parts, batch // parts, -1),
                    _kept_units(rng, parts, settings["hidden"], settings["dropout"]),
                    done,
                )
                done += 1
            if validation is None:
                continue
            self._keep(averaged, mean, factor)
            losses.append(self._validation_loss(X, validation))
            if losses[-1] < best_loss:
                best_loss, best_epoch, best = losses[-1], epoch, self.arrays
            elif epoch - best_epoch >= settings["patience"]:
                break
        if validation is None:
            self._keep(averaged, mean, factor)
            best_epoch, best = epochs, self.arrays
        self.arrays = best
        self.fitted = {"features": X.shape[1], "epochs": best_epoch, "validation_losses": losses}

    def _keep(self, weights: Weights, mean: FloatArray, factor: FloatArray) -> None:
        """Keep the weights as arrays, with the scaling of the input folded into the first layer."""
        plain = {name: np.asarray(value) for name, value in _copy(weights).items()}
        first = factor[:, None] * np.ascontiguousarray(plain["W1"].T)
        self.arrays = {
            "W1": first,
            "b1": plain["b1"] - mean @ first,
            "W2": plain["W2"],
            "b2": plain["b2"],
        }

    def _predict(self, features: FloatArray) -> FloatArray:
        hidden = features @ self.arrays["W1"]
        hidden += self.arrays["b1"]
        np.maximum(hidden, 0, out=hidden)
        z: FloatArray = hidden @ self.arrays["W2"]
        z += self.arrays["b2"]
        return sigmoid(z)

    def _validation_loss(self, X: FeatureMatrix, validation: Validation) -> float:
        """Return the mean over articles of the summed cross-entropy over tags."""
        total = 0.0
        for part, block in row_blocks(validation.rows, PREDICT_ROWS):
            P = np.clip(self._predict(X.rows(block)), 1e-7, 1 - 1e-7)
            total -= float(np.log(np.where(validation.Y[part], P, 1 - P)).sum(dtype=np.float64))
        return total / len(validation.rows)


def _scaling(X: FeatureMatrix, rows: IndexArray) -> tuple[FloatArray, FloatArray]:
    """Return each column's mean, and its block's root mean square about it, over some rows."""
    total = np.zeros(X.shape[1])
    squares = np.zeros(X.shape[1])
    for _, block in row_blocks(rows, PREDICT_ROWS):
        total += X.rows(block).sum(axis=0, dtype=np.float64)
    mean = total / len(rows)
    for _, block in row_blocks(rows, PREDICT_ROWS):
        squares += np.square(X.rows(block) - mean).sum(axis=0)
    variances = np.split(squares / len(rows), np.cumsum(X.block_widths)[:-1])
    scale = np.concatenate([np.full(len(v), np.sqrt(v.mean()) if len(v) else 0) for v in variances])
    return mean.astype(np.float32), scale.astype(np.float32)


def _initial_weights(rng: np.random.Generator, features: int, hidden: int, Y: BoolArray) -> Weights:
    """Return the weights before training; W1 has a row a hidden unit, as its units are picked."""
    share = np.clip(Y.mean(axis=0), 1e-4, 1 - 1e-4)
    return {
        "W1": jnp.asarray(rng.normal(0, np.sqrt(2 / features), (hidden, features)), jnp.float32),
        "b1": jnp.zeros(hidden, jnp.float32),
        "W2": jnp.asarray(rng.normal(0, np.sqrt(1 / hidden), (hidden, Y.shape[1])), jnp.float32),
        "b2": jnp.asarray(np.log(share / (1 - share)), jnp.float32),
    }


def _kept_units(rng: np.random.Generator, parts: int, hidden: int, dropout: float) -> IndexArray:
    """Draw dropout masks: for each part of a batch the units that are kept, sorted."""
    kept = max(1, round(hidden * (1 - dropout)))
    order = np.argsort(rng.random((parts, hidden), dtype=np.float32), axis=1, kind="stable")
    return np.sort(order[:, :kept], axis=1).astype(np.int32)


def _copy(weights: Weights) -> Weights:
    return {name: jnp.copy(value) for name, value in weights.items()}


@lru_cache(maxsize=8)
def _make_step(
    learning_rate: float, weight_decay: float, average: float
) -> tuple[Callable[..., tuple[Weights, Any, Weights]], optax.GradientTransformation]:
    """Return the compiled training step, and the optimizer whose state it carries.

    The step takes the weights, the optimizer's state, the averaged weights, x float32
    [parts, articles, features], y bool [parts, articles, tags], the kept units int32
    [parts, kept], and the number of steps done.
    """
    optimizer = optax.adamw(
        learning_rate,
        weight_decay=weight_decay,
        mask={"W1": True, "b1": False, "W2": True, "b2": False},
    )

    def loss(weights: Weights, x: jax.Array, y: jax.Array, kept: jax.Array) -> jax.Array:
        # A scaled unit stands for the dropped ones, so that nothing changes at prediction.
        scale = weights["b1"].shape[0] / kept.shape[1]
        # Joined, the weights are picked once, and their gradient is put back once, row by row.
        units = jnp.concatenate([weights["W1"], weights["b1"][:, None], weights["W2"]], axis=1)
        into, bias, out = jnp.split(units[kept], [x.shape[-1], x.shape[-1] + 1], axis=-1)
        hidden = jax.nn.relu(jnp.einsum("paf,pkf->pak", x, into) + bias[:, None, :, 0]) * scale
        z = jnp.einsum("pak,pkt->pat", hidden, out) + weights["b2"]
        cross_entropy = optax.sigmoid_binary_cross_entropy(z, y.astype(jnp.float32))
        return jnp.asarray(cross_entropy.sum(axis=-1).mean())

    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def step(
        weights: Weights,
        state: Any,
        averaged: Weights,
        x: jax.Array,
        y: jax.Array,
        kept: jax.Array,
        done: int,
    ) -> tuple[Weights, Any, Weights]:
        gradient = jax.grad(loss)(weights, x, y, kept)
        updates, state = optimizer.update(gradient, state, weights)
        weights = optax.apply_updates(weights, updates)
        # A short memory at first: the average must not hold on to the initial weights.
        memory = jnp.minimum(average, (1 + done) / (10 + done))
        averaged = jax.tree.map(lambda a, w: memory * a + (1 - memory) * w, averaged, weights)
        return weights, state, averaged

    return step, optimizer

"""The study's classifier: every set of tags seen in training is a class of its own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax

from tagsage.features.matrix import BoolArray, FeatureMatrix, FloatArray, IndexArray, row_blocks
from tagsage.jax_cache import keep_compiled_programs
from tagsage.learn.classifiers.base import Classifier, Range, Validation
from tagsage.progress import track

keep_compiled_programs()

Parameters = dict[str, jax.Array]

# Numbers in one block of rows × classes, at prediction.
PREDICT_NUMBERS = 1 << 22
LEARNING_RATE = 0.1
OPTIMIZER = optax.trace(decay=0.9, nesterov=True)


class LabelPowerset(Classifier):
    """LabelPowerset over logistic regression, after the study.

    A tag's probability is the sum over the sets that hold it, and tags are assigned by thresholds;
    the study takes the most likely set, :meth:`most_likely_sets`. For corpora of the study's size:
    time grows with articles × sets.
    """

    name: ClassVar[str] = "label_powerset"
    defaults: ClassVar[Mapping[str, Any]] = {
        "C": 1.0,
        "epochs": 6,
        "min_steps": 200,
        "batch_size": 1024,
    }
    space: ClassVar[Mapping[str, Range]] = {"C": Range(0.1, 100.0, log=True)}

    def _fit(self, X: FeatureMatrix, rows: IndexArray, Y: BoolArray, _: Validation | None) -> None:
        sets, classes = np.unique(Y, axis=0, return_inverse=True)
        per_epoch = max(len(rows) // self.settings["batch_size"], 1)
        coef, intercept = fit_multinomial(
            X.rows(rows),
            classes.ravel(),
            inverse_penalty=self.settings["C"],
            steps=max(self.settings["epochs"] * per_epoch, self.settings["min_steps"]),
            batch_size=self.settings["batch_size"],
            seed=self.seed,
        )
        self.arrays = {"coef": coef, "intercept": intercept, "sets": sets}
        self.fitted |= {"label_sets": len(sets)}

    def _predict(self, features: FloatArray) -> FloatArray:
        sets = self.arrays["sets"].astype(np.float32)
        P = np.empty((len(features), sets.shape[1]), dtype=np.float32)
        block = max(PREDICT_NUMBERS // len(sets), 1)
        for part, rows in row_blocks(np.arange(len(features)), block):
            z = features[rows] @ self.arrays["coef"] + self.arrays["intercept"]
            z -= z.max(axis=1, keepdims=True)
            np.exp(z, out=z)
            P[part] = (z @ sets) / z.sum(axis=1, keepdims=True)
        return P

    def most_likely_sets(self, X: FeatureMatrix, rows: IndexArray) -> BoolArray:
        """Return the tags of each article's most likely set, [m, L]; of equal ones the first.

        The empty set is none of them: the study has no articles without a tag.
        """
        found = np.tile(self.arrays["constant"] > 0, (len(rows), 1))
        varying = self.arrays["varying"]
        if not len(varying):
            return found
        sets = self.arrays["sets"]
        bias = np.where(sets.any(axis=1) | found.any(), self.arrays["intercept"], -np.inf)
        for part, block in row_blocks(rows, max(PREDICT_NUMBERS // len(sets), 1)):
            z = X.rows(block) @ self.arrays["coef"] + bias
            found[part, varying] = sets[z.argmax(axis=1)]
        return found


def fit_multinomial(
    features: FloatArray,
    classes: npt.NDArray[np.integer],
    *,
    inverse_penalty: float,
    steps: int,
    batch_size: int,
    seed: int,
) -> tuple[FloatArray, FloatArray]:
    """Fit softmax regression with an L2 penalty, for thousands of classes 0 … k-1, each present.

    Minimises over W and b, as scikit-learn's ``LogisticRegression(C)`` does::

        mean over rows of -log softmax(x W + b)[class]  +  ||W||² / (2 C n)

    by stochastic gradient descent with Nesterov's momentum; the learning rate falls to 0. It takes
    few steps because features are centred and rotated to their principal axes, and weights divided
    by the square root of their expected curvature. `inverse_penalty` is C. Returns the weights
    [d, k] and the intercepts [k].
    """
    n, rng = len(classes), np.random.default_rng(seed)
    share = np.bincount(classes) / n
    mean = features.mean(axis=0)
    centred = features - mean
    variances, axes = np.linalg.eigh(centred.T @ centred / n)
    penalty = 1 / (inverse_penalty * n)
    curvature = share * np.maximum(variances, 0)[:, None] + penalty
    scale = {
        "W": jnp.asarray(1 / np.sqrt(curvature), jnp.float32),
        "b": jnp.asarray(1 / np.sqrt(share), jnp.float32),
    }
    variables = {
        "W": jnp.zeros_like(scale["W"]),
        "b": jnp.asarray(np.log(share), jnp.float32) / scale["b"],
    }
    rotated = (centred @ axes).astype(np.float32)
    state = OPTIMIZER.init(variables)
    batch, order = min(batch_size, n), np.zeros(0, dtype=np.int64)
    for step in track(range(steps), "training label_powerset: steps"):
        if len(order) < batch:
            order = rng.permutation(n)
        chosen, order = order[:batch], order[batch:]
        rate = LEARNING_RATE * (1 - step / steps)
        variables, state = _step(
            variables, state, scale, rotated[chosen], classes[chosen], penalty, rate
        )
    W = axes @ np.asarray(variables["W"] * scale["W"])
    b = np.asarray(variables["b"] * scale["b"]) - mean @ W
    return W.astype(np.float32), b.astype(np.float32)


@partial(jax.jit, donate_argnums=(0, 1))
def _step(
    variables: Parameters,
    state: Any,
    scale: Parameters,
    x: jax.Array,
    classes: jax.Array,
    penalty: float,
    rate: float,
) -> tuple[Parameters, Any]:
    def objective(variables: Parameters) -> jax.Array:
        W, b = variables["W"] * scale["W"], variables["b"] * scale["b"]
        loss = optax.softmax_cross_entropy_with_integer_labels(x @ W + b, classes)
        return jnp.asarray(loss.mean() + penalty / 2 * (W * W).sum())

    direction, state = OPTIMIZER.update(jax.grad(objective)(variables), state)
    return jax.tree.map(lambda w, d: w - rate * d, variables, direction), state

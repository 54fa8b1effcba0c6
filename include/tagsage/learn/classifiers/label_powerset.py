"""The study's classifier: every set of tags seen in training is a class of its own."""

from __future__ import annotations

from collections.abc import Mapping
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
Blocks = tuple[jax.Array, jax.Array, jax.Array]

# Numbers in one block of rows × classes, at the fit and at prediction.
FIT_NUMBERS, PREDICT_NUMBERS = 1 << 23, 1 << 22
MAX_FIT_ROWS = 2048
# A line search by halving: it compiles in a fraction of the time of the default one.
OPTIMIZER = optax.lbfgs(
    memory_size=8,
    linesearch=optax.scale_by_backtracking_linesearch(max_backtracking_steps=20, store_grad=True),
)


class LabelPowerset(Classifier):
    """LabelPowerset over logistic regression, after the study.

    A tag's probability is the sum over the sets that hold it, and tags are assigned by thresholds;
    the study takes the most likely set, :meth:`most_likely_sets`. For corpora of the study's size:
    time grows with articles × sets.
    """

    name: ClassVar[str] = "label_powerset"
    defaults: ClassVar[Mapping[str, Any]] = {"C": 1.0, "max_iter": 60, "tol": 3e-4}
    space: ClassVar[Mapping[str, Range]] = {"C": Range(0.1, 100.0, log=True)}

    def _fit(self, X: FeatureMatrix, rows: IndexArray, Y: BoolArray, _: Validation | None) -> None:
        sets, classes = np.unique(Y, axis=0, return_inverse=True)
        coef, intercept, steps = fit_multinomial(
            X.rows(rows),
            classes.ravel(),
            inverse_penalty=self.settings["C"],
            max_iter=self.settings["max_iter"],
            tol=self.settings["tol"],
        )
        self.arrays = {"coef": coef, "intercept": intercept, "sets": sets}
        self.fitted |= {"label_sets": len(sets), "steps": steps}

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
    max_iter: int,
    tol: float,
) -> tuple[FloatArray, FloatArray, int]:
    """Fit softmax regression with an L2 penalty, for thousands of classes 0 … k-1, each present.

    Minimises over W and b, as scikit-learn's ``LogisticRegression(C)`` does::

        mean over rows of -log softmax(x W + b)[class]  +  ||W||² / (2 C n)

    by L-BFGS in float32, until each of two steps in a row lowers the objective by less than the
    share `tol`. It takes few steps because features are centred and rotated to their principal
    axes, and weights divided by the square root of their expected curvature. `inverse_penalty` is
    C. Returns the weights [d, k], the intercepts [k], and the number of steps.
    """
    share = np.bincount(classes) / len(classes)
    mean = features.mean(axis=0)
    centred = features - mean
    variances, axes = np.linalg.eigh(centred.T @ centred / len(features))
    penalty = 1 / (inverse_penalty * len(features))
    curvature = share * np.maximum(variances, 0)[:, None] + penalty
    scale = {
        "W": jnp.asarray(1 / np.sqrt(curvature), jnp.float32),
        "b": jnp.asarray(1 / np.sqrt(share), jnp.float32),
    }
    start = {
        "W": jnp.zeros_like(scale["W"]),
        "b": jnp.asarray(np.log(share), jnp.float32) / scale["b"],
    }
    blocks = _blocks(centred @ axes, classes, len(share))
    variables, steps = _minimise(start, scale, blocks, penalty, max_iter=max_iter, tol=tol)
    W = axes @ np.asarray(variables["W"] * scale["W"])
    b = np.asarray(variables["b"] * scale["b"]) - mean @ W
    return W.astype(np.float32), b.astype(np.float32), steps


def _blocks(X: FloatArray, classes: npt.NDArray[np.integer], n_classes: int) -> Blocks:
    """Return blocks of rows, of their classes, and of weights: 1, and 0 for padding."""
    rows = max(min(FIT_NUMBERS // n_classes, MAX_FIT_ROWS, len(X)), 1)
    padding = -len(X) % rows
    return (
        jnp.asarray(np.pad(X, ((0, padding), (0, 0))).reshape(-1, rows, X.shape[1]), jnp.float32),
        jnp.asarray(np.pad(classes, (0, padding)).reshape(-1, rows), jnp.int32),
        jnp.asarray(np.pad(np.ones(len(X)), (0, padding)).reshape(-1, rows), jnp.float32),
    )


def _minimise(
    variables: Parameters,
    scale: Parameters,
    blocks: Blocks,
    penalty: float,
    *,
    max_iter: int,
    tol: float,
) -> tuple[Parameters, int]:
    # With the exact types that a step returns: else the second step would be compiled anew.
    state = jax.tree.map(lambda value: jnp.asarray(value, value.dtype), OPTIMIZER.init(variables))
    before, small, steps = np.inf, 0, 0
    for _ in track(range(max_iter), "training label_powerset: steps"):
        variables, state, value = _step(variables, state, scale, blocks, penalty)
        steps += 1
        # Twice in a row: one small step may only have been a short one.
        small = small + 1 if before - float(value) <= tol * abs(float(value)) else 0
        if small == 2:
            break
        before = float(value)
    return variables, steps


@jax.jit
def _step(
    variables: Parameters, state: Any, scale: Parameters, blocks: Blocks, penalty: float
) -> tuple[Parameters, Any, jax.Array]:
    def objective(variables: Parameters) -> jax.Array:
        W, b = variables["W"] * scale["W"], variables["b"] * scale["b"]

        # Computed again for the gradient: no array of all rows × classes is kept.
        @jax.checkpoint
        def add(
            total: jax.Array, block: tuple[jax.Array, jax.Array, jax.Array]
        ) -> tuple[jax.Array, None]:
            x, y, weight = block
            loss = optax.softmax_cross_entropy_with_integer_labels(x @ W + b, y)
            return total + (weight * loss).sum(), None

        total, _ = jax.lax.scan(add, jnp.float32(0), blocks)
        return jnp.asarray(total / blocks[2].sum() + penalty / 2 * (W * W).sum())

    value, gradient = optax.value_and_grad_from_state(objective)(variables, state=state)
    updates, state = OPTIMIZER.update(
        gradient, state, variables, value=value, grad=gradient, value_fn=objective
    )
    return optax.apply_updates(variables, updates), state, value

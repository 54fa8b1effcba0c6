"""Multinomial logistic regression for thousands of classes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin

from tagsage.features.matrix import FloatArray
from tagsage.progress import track

BLOCK_NUMBERS = 1 << 23
MAX_BLOCK_ROWS = 2048
MEMORY = 8
# A relative decrease below this is rounding of float32.
NOISE = 1e-7

Parameters = dict[str, jax.Array]
Objective = Callable[[Parameters], tuple[jax.Array, Parameters]]


@dataclass(frozen=True)
class Problem:
    """What the objective is made of, once the features are rotated.

    Attributes
    ----------
    X : float32 jax array, shape [blocks, rows, d]
        Centred features in the basis of their principal axes; padded with zero rows.
    y : int32 jax array, shape [blocks, rows]
        Class of each row.
    weight : float32 jax array, shape [blocks, rows]
        1 for a row, 0 for padding.
    scale : dict of jax arrays
        What the optimizer's variables are multiplied by to give the parameters.
    penalty : float
        1 / (C n).
    """

    X: jax.Array
    y: jax.Array
    weight: jax.Array
    scale: Parameters
    penalty: float


class MultinomialLogistic(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Softmax regression with an L2 penalty: scikit-learn's objective, for thousands of classes.

    Minimises, over W and b (b free of penalty), as scikit-learn's ``LogisticRegression(C)`` does::

        mean over rows of -log softmax(x W + b)[y]  +  ||W||² / (2 C n)

    by L-BFGS [1]_ in float32, on all cores, in blocks of rows: no array of rows × classes is made.
    It takes few steps because the variables are changed first, which leaves the objective as it is:
    features are centred (b takes up the shift) and rotated to their principal axes (the penalty
    does not see rotations), and each weight is divided by the square root of its expected
    curvature, share of the class × variance along the axis + penalty.

    Parameters
    ----------
    C : float
        Inverse strength of the penalty.
    max_iter : int
        Most steps.
    tol : float
        Stop when two steps in a row lower the objective by less than this share of it each.

    Attributes
    ----------
    classes_ : array, shape [n_classes]
        The classes, sorted.
    coef_ : float32 array, shape [n_classes, d]
        As scikit-learn's, for the features as given.
    intercept_ : float32 array, shape [n_classes]
        Free up to a constant; chosen with mean 0.
    n_iter_ : int
        Steps made.
    objective_ : float
        The objective at the end.

    References
    ----------
    .. [1] J. Nocedal, S. Wright: Numerical Optimization, 2nd ed., algorithm 7.4.
    """

    def __init__(self, C: float = 1.0, max_iter: int = 60, tol: float = 3e-4) -> None:  # ruff: ignore[invalid-argument-name]
        self.C = C
        self.max_iter = max_iter
        self.tol = tol

    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        start: tuple[FloatArray, FloatArray] | None = None,
    ) -> Self:
        """Fit.

        Parameters
        ----------
        X : float array, shape [n, d]
            Features.
        y : array, shape [n]
            Classes; a single class is fine.
        start : tuple of float32 arrays, optional
            `coef_` and `intercept_` to start from, rows in the order of the sorted classes. By
            default weights 0 and the logarithms of the classes' shares.

        Returns
        -------
        MultinomialLogistic
            Itself.
        """
        features = np.asarray(X, dtype=np.float32)
        self.classes_, codes, counts = np.unique(
            np.asarray(y), return_inverse=True, return_counts=True
        )
        mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred = features - mean
        covariance = (centred.T @ centred).astype(np.float64) / len(features)
        variances, axes = np.linalg.eigh(covariance)
        basis = axes.astype(np.float32)
        share = counts / len(features)
        penalty = 1 / (self.C * len(features))
        curvature = share * np.maximum(variances, 0)[:, None] + penalty
        scale = {
            "W": jnp.asarray(1 / np.sqrt(curvature), jnp.float32),
            "b": jnp.asarray(1 / np.sqrt(share), jnp.float32),
        }
        problem = Problem(*_blocks(centred @ basis, codes, len(share)), scale, penalty)
        if start is None:
            start = np.zeros((len(share), features.shape[1]), np.float32), np.log(share)
        variables = {
            "W": jnp.asarray(basis.T @ start[0].T, jnp.float32) / scale["W"],
            "b": jnp.asarray(start[1] + start[0] @ mean, jnp.float32) / scale["b"],
        }
        variables, self.objective_, self.n_iter_ = _lbfgs(
            _objective(problem), variables, max_iter=self.max_iter, tol=self.tol
        )
        rotated = np.asarray(variables["W"] * scale["W"])
        self.coef_ = np.ascontiguousarray((basis @ rotated).T)
        intercept = np.asarray(variables["b"] * scale["b"]) - self.coef_ @ mean
        self.intercept_ = intercept - intercept.mean()
        return self

    def predict_proba(self, X: npt.ArrayLike) -> FloatArray:
        """Return the probability of every class, float32 [n, n_classes]; all rows at once."""
        return softmax(np.asarray(X, dtype=np.float32) @ self.coef_.T + self.intercept_)

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return the likeliest class of every row."""
        z = np.asarray(X, dtype=np.float32) @ self.coef_.T + self.intercept_
        predicted: npt.NDArray[Any] = self.classes_[z.argmax(axis=1)]
        return predicted


def softmax(z: FloatArray) -> FloatArray:
    """Return exp(z) / sum exp(z) over the columns, in place."""
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)
    return z


def _blocks(
    X: FloatArray, codes: npt.NDArray[np.intp], n_classes: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    n, d = X.shape
    rows = max(min(BLOCK_NUMBERS // n_classes, MAX_BLOCK_ROWS, n), 1)
    padding = -n % rows
    return (
        jnp.asarray(np.pad(X, ((0, padding), (0, 0))).reshape(-1, rows, d)),
        jnp.asarray(np.pad(codes, (0, padding)).reshape(-1, rows), jnp.int32),
        jnp.asarray(np.pad(np.ones(n), (0, padding)).reshape(-1, rows), jnp.float32),
    )


def _objective(problem: Problem) -> Objective:
    """Return the function that gives the objective and its gradient by the scaled variables."""
    return lambda variables: _value_and_gradient(
        variables, problem.scale, problem.X, problem.y, problem.weight, problem.penalty
    )


@jax.jit
def _value_and_gradient(
    variables: Parameters,
    scale: Parameters,
    X: jax.Array,
    y: jax.Array,
    weight: jax.Array,
    penalty: float,
) -> tuple[jax.Array, Parameters]:
    n = weight.sum()
    W, b = variables["W"] * scale["W"], variables["b"] * scale["b"]

    def add_block(
        sums: tuple[jax.Array, jax.Array, jax.Array],
        block: tuple[jax.Array, jax.Array, jax.Array],
    ) -> tuple[tuple[jax.Array, jax.Array, jax.Array], None]:
        x, classes, counted = block
        z = x @ W + b
        top = z.max(axis=1, keepdims=True)
        e = jnp.exp(z - top)
        total = e.sum(axis=1, keepdims=True)
        right = jnp.take_along_axis(z, classes[:, None], axis=1)
        loss = (counted * (jnp.log(total) + top - right)[:, 0]).sum()
        residual = e * (counted[:, None] / total)
        residual = residual.at[jnp.arange(len(classes)), classes].add(-counted)
        return (sums[0] + loss, sums[1] + x.T @ residual, sums[2] + residual.sum(axis=0)), None

    zeros = (jnp.float32(0), jnp.zeros_like(W), jnp.zeros_like(b))
    (loss, W_sum, b_sum), _ = jax.lax.scan(add_block, zeros, (X, y, weight))
    value = loss / n + penalty / 2 * (W * W).sum()
    gradient = {"W": (W_sum / n + penalty * W) * scale["W"], "b": b_sum / n * scale["b"]}
    return value, gradient


@jax.jit
def _dot(a: Parameters, b: Parameters) -> jax.Array:
    return jnp.vdot(a["W"], b["W"]) + jnp.vdot(a["b"], b["b"])


@jax.jit
def _add(a: Parameters, factor: jax.Array | float, b: Parameters) -> Parameters:
    return {name: a[name] + factor * b[name] for name in ("W", "b")}


def _direction(gradient: Parameters, pairs: deque[tuple[Parameters, Parameters]]) -> Parameters:
    """Return -H⁻¹ gradient, H estimated from the last steps (the two-loop recursion)."""
    direction: Parameters = _add(gradient, -2.0, gradient)
    rhos = [1 / _dot(step, change) for step, change in pairs]
    alphas = []
    for (step, change), rho in zip(reversed(pairs), reversed(rhos), strict=True):
        alphas.append(rho * _dot(step, direction))
        direction = _add(direction, -alphas[-1], change)
    if pairs:
        step, change = pairs[-1]
        factor = _dot(step, change) / _dot(change, change)
        direction = _add(direction, factor - 1, direction)
    for (step, change), rho, alpha in zip(pairs, rhos, reversed(alphas), strict=True):
        direction = _add(direction, alpha - rho * _dot(change, direction), step)
    return direction


def _lbfgs(
    objective: Objective, variables: Parameters, *, max_iter: int, tol: float
) -> tuple[Parameters, float, int]:
    """Minimise a convex function; returns the variables, the objective there and the steps made."""
    value, gradient = objective(variables)
    pairs: deque[tuple[Parameters, Parameters]] = deque(maxlen=MEMORY)
    made = small = 0
    for _ in track(range(max_iter), "training logistic regression: steps"):
        direction = _direction(gradient, pairs)
        slope = float(_dot(gradient, direction))
        if slope >= 0:
            break  # the gradient is zero, up to rounding
        length = 1.0
        while True:
            moved = _add(variables, length, direction)
            new_value, new_gradient = objective(moved)
            # The second condition keeps rounding of the objective from looking like an ascent.
            if new_value <= value + 1e-4 * length * slope or length < 1e-4:
                break
            # The lowest point of the parabola through what is known, within bounds.
            rise = float(new_value - value) - length * slope
            best = -slope * length * length / (2 * rise) if rise > 0 else length / 2
            length = min(max(best, length / 10), length / 2)
        decrease = float(value - new_value)
        if decrease < 0:
            break
        change = _add(new_gradient, -1.0, gradient)
        step = _add(moved, -1.0, variables)
        if float(_dot(step, change)) > 0:
            pairs.append((step, change))
        variables, value, gradient = moved, new_value, new_gradient
        made += 1
        # Twice in a row: one small step may only have been a short one.
        small = small + 1 if decrease <= max(tol, NOISE) * abs(float(value)) else 0
        if small == 2:
            break
    return variables, float(value), made

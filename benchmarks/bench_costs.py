"""What candidates cost: measured, and as :mod:`tagsage.learn.costs` estimates it.

A candidate is tuned on 85% of the training articles and fitted on all of them, on drawn data of
several sizes and on the corpus' own text and text with lists. *CPU s* is the time of all cores
together: where it is below the seconds although a classifier uses one core, something else ran on
the machine. What is estimated to take too long is left out. Last come, for each classifier, the
coefficients that fit these measurements best, as ``costs.py`` has them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

from benchmarks.bench_learn import FEATURE_SETS, SEED, load, prepare
from benchmarks.runner import MB, Measure, Row, measure, number, prepared, table
from tagsage.features.matrix import FeatureMatrix, IndexArray
from tagsage.learn.classifiers import CLASSIFIERS
from tagsage.learn.costs import (
    FORMULAS,
    Sizes,
    estimate_cost,
    fit_sizes,
    reason_to_leave_out,
    term,
)
from tagsage.learn.fitting import fit_candidate
from tagsage.learn.targets import BoolArray

MAX_MINUTES = 20.0
MAX_GB = 8.0
# Articles, features and tags of drawn data; one grows at a time.
DRAWN = (
    (3000, 64, 40),
    (12_000, 64, 40),
    (3000, 2048, 40),
    (3000, 64, 240),
    (12_000, 256, 80),
)

Task = tuple[FeatureMatrix, BoolArray, IndexArray]


@dataclass(frozen=True)
class Case:
    """Data to fit candidates on.

    Attributes
    ----------
    name : str
        What it is.
    sizes : Sizes
        How large it is.
    load : callable
        Opens or draws features, labels and rows in the measuring process.
    weight : float
        How much it counts where coefficients are chosen.
    """

    name: str
    sizes: Sizes
    load: Callable[[], Task]
    weight: float = 1.0


def main(corpus: str) -> str:
    """Measure every classifier at every size.

    Parameters
    ----------
    corpus : str
        Folder with articles.csv.gz and lists.csv.gz.

    Returns
    -------
    str
        A Markdown table for each classifier, then the coefficients.
    """
    with tempfile.TemporaryDirectory() as name:
        prepare(corpus, Path(name))
        cases = [case(partial(draw, *sizes), "drawn") for sizes in DRAWN]
        # How many steps a fit takes depends on the data: real ones tell more of that.
        for feature_set in FEATURE_SETS:
            task = partial(corpus_task, Path(name), feature_set)
            cases.append(case(task, feature_set, weight=3.0))
        parts = [tables(classifier, cases) for classifier in CLASSIFIERS]
    return "\n\n".join(parts)


def case(task: Callable[[], Task], name: str, *, weight: float = 1.0) -> Case:
    """Look once at the data, for their sizes."""
    X, Y, _ = task()
    sizes = Sizes(len(Y), X.shape[1], Y.shape[1], len(np.unique(Y, axis=0)))
    told = f"{len(Y):,} × {X.shape[1]:,}, {sizes.tags} tags, {sizes.label_sets:,} sets"
    return Case(f"{name}: {told}", sizes, task, weight)


def draw(rows: int, features: int, tags: int) -> Task:
    """Draw data that are like LSA vectors and tags: few directions matter, most tags are rare."""
    rng = np.random.default_rng(SEED)
    scale = np.arange(1, features + 1) ** -0.5
    X = rng.normal(size=(rows, features)) * scale
    z = X @ (rng.normal(size=(features, tags)) / np.sqrt((scale**2).sum()))
    z += 0.5 * rng.normal(size=z.shape)
    share = np.geomspace(0.006, 0.06, tags)
    Y = z > np.quantile(z, 1 - share, axis=0).diagonal()
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    return FeatureMatrix([X.astype(np.float32)]), Y, np.arange(rows)


def corpus_task(folder: Path, feature_set: str) -> Task:
    """Open the corpus' features and training labels."""
    X, labels = load(folder, feature_set)
    return X, labels.Y_train, labels.train_rows


def tables(classifier: str, cases: Sequence[Case]) -> str:
    """Measure one classifier on all data it is affordable on."""
    rows, left_out, measured = [], [], []
    for one in cases:
        cost = estimate_cost(classifier, **one.sizes._asdict())
        reason = reason_to_leave_out(cost, max_minutes=MAX_MINUTES, max_gb=MAX_GB)
        if reason:
            left_out.append(f"{one.name}: {reason}.")
            continue
        taken = measure(prepared(one.load, partial(fit, classifier)))
        measured.append((one, taken))
        columns = {
            "CPU s": number(taken.result, 1),
            "estimated s": number(cost.seconds, 1),
            "estimated MiB": number(cost.bytes / MB, 0),
        }
        rows.append(Row(one.name, taken.seconds, taken.peak_mb, taken.extra_mb, columns))
    parts = [f"### {classifier}", *([table(rows)] if rows else []), *left_out]
    # Fewer measurements than terms would say nothing.
    if len(measured) > max(map(len, FORMULAS[classifier])):
        parts.append(f"Best coefficients: {coefficients(classifier, measured)}")
    return "\n\n".join(parts)


def fit(classifier: str, task: Task) -> float:
    """Fit a candidate; returns the CPU seconds it took."""
    X, Y, rows = task
    tags = [str(tag) for tag in range(Y.shape[1])]
    started = time.process_time()
    fit_candidate(X, Y, rows, tags=tags, classifier=classifier, seed=SEED)
    return time.process_time() - started


def coefficients(classifier: str, measured: Sequence[tuple[Case, Measure[float]]]) -> str:
    """Return the formula whose coefficients fit measurements best."""
    formula = FORMULAS[classifier]
    fits = [fit_sizes(*map(int, one.sizes)) for one, _ in measured]
    weights = [one.weight for one, _ in measured]
    seconds = best(
        {
            name: [sum(term(name, sizes) for sizes in both) for both in fits]
            for name in formula.seconds
        },
        [taken.seconds for _, taken in measured],
        weights,
    )
    held = best(
        {name: [term(name, whole) for _, whole in fits] for name in formula.bytes},
        [taken.extra_mb * MB for _, taken in measured],
        weights,
    )
    return f"`Formula({seconds}, {held})`"


def best(
    terms: Mapping[str, Sequence[float]], values: Sequence[float], weights: Sequence[float]
) -> dict[str, float]:
    """Return coefficients of terms whose sum comes closest to positive values.

    None is below 0; the weighted sum of squared relative errors is least.
    """
    root = np.sqrt(weights)
    A = np.array(list(terms.values())).T * (root / values)[:, None]
    # Terms differ by many orders of magnitude.
    scale = np.abs(A).max(axis=0)
    found, _ = nnls(A / scale, root)
    return {name: float(f"{c:.2g}") for name, c in zip(terms, found / scale, strict=True)}

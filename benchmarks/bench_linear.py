"""Ways to fit one linear model per tag on words, lists and authors as sparse columns.

Each is fitted on 85% of the training articles, its thresholds are chosen on the other 15%, and it
is scored on the test articles; fit and prediction are timed, once, in a process of its own.
napkinXC's rows come only where it is installed (``pip install napkinxc``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runner import Row, measure, prepared, table
from tagsage.evaluate.metrics import evaluate
from tagsage.features import Articles, FeatureMatrix, KnownArticles, blocks_of
from tagsage.features.fitting import fit_block, open_matrix
from tagsage.learn.classifiers import make_classifier
from tagsage.learn.fitting import tuning_split
from tagsage.learn.labels import Labels, label_corpus
from tagsage.learn.thresholds import Thresholds
from tagsage.runner import LocalRunner
from tagsage.settings import Settings
from tagsage.settings.predictions import PredictionSettings

SEED = 42
C = 5.0
FEATURES = "words+list_ids+author_ids"
Probabilities = np.ndarray
Fit = Callable[[FeatureMatrix, np.ndarray, np.ndarray, np.ndarray], Probabilities]


def main(corpus: str) -> str:
    """Fit each on one split; returns a table in Markdown.

    Parameters
    ----------
    corpus : str
        Folder with articles.csv.gz and lists.csv.gz.
    """
    fits: dict[str, Fit] = {
        "`linear` (scikit-learn's SGDClassifier)": by_sgd,
        "scikit-learn's LogisticRegression(liblinear, dual)": by_liblinear,
    }
    if find_spec("napkinxc"):
        fits |= {"napkinXC BR (liblinear)": by_napkin("BR"), "napkinXC PLT": by_napkin("PLT")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        about = prepare(corpus, folder)
        return f"{about}\n\n{table([row(folder, name, fit) for name, fit in fits.items()])}"


def prepare(corpus: str, folder: Path) -> str:
    """Write features and labels; returns a sentence about them."""
    from tagsage.corpus.csv_source import read_csv_corpus
    from tagsage.store.base import snapshot_of

    source = [str(Path(corpus) / f"{name}.csv.gz") for name in ("articles", "lists")]
    snapshot = snapshot_of(read_csv_corpus(*source, max_rejected_share=1.0))
    labels = label_corpus(
        snapshot.articles["tags"].tolist(), min_tag_articles=100, test_share=0.2, seed=SEED
    )
    (folder / "labels").mkdir()
    labels.save(folder / "labels")
    articles = Articles.of_snapshot(snapshot)
    known = KnownArticles.of(articles, labels.train_rows, labels.Y_train)
    np.save(folder / "in_list.npy", known.in_known_list(known.mark(articles)))
    columns = 0
    for name in blocks_of(FEATURES):
        (folder / name).mkdir()
        made = fit_block(folder / name, name, articles, known, Settings(seed=SEED), LocalRunner())
        columns += sum(made["columns"])
    return (
        f"{len(labels.train):,} training and {len(labels.test):,} test articles, {columns:,} "
        f"columns, {len(labels.tags)} target tags."
    )


def load(folder: Path) -> tuple[FeatureMatrix, Labels]:
    """Open features and labels."""
    folders = {name: folder / name for name in blocks_of(FEATURES)}
    X = open_matrix(folders, FEATURES, np.load(folder / "in_list.npy"))
    return X, Labels.load(folder / "labels")


def row(folder: Path, name: str, fit: Fit) -> Row:
    """Measure one fit, and score it."""

    def call(loaded: tuple[FeatureMatrix, Labels]) -> Probabilities:
        X, labels = loaded
        rows, Y, inner = labels.train_rows, labels.Y_train, tuning_split(labels.Y_train, seed=SEED)
        asked = np.concatenate([rows[inner.test], labels.test_rows])
        return fit(X, rows[inner.train], Y[inner.train], asked)

    measured = measure(prepared(lambda: load(folder), call))
    _, labels = load(folder)
    inner = tuning_split(labels.Y_train, seed=SEED)
    chosen, P = np.split(measured.result, [len(inner.test)])
    thresholds = Thresholds.choose(chosen, labels.Y_train[inner.test], PredictionSettings())
    scores = evaluate(P, labels.Y_test, thresholds.assign(P), labels.tags).overall
    shown = {"micro-F1": "micro_f1", "macro-F1": "macro_f1", "P@5": "p_at_5", "LRAP": "lrap"}
    columns = {heading: f"{scores[key]:.4f}" for heading, key in shown.items()}
    return Row(name, measured.seconds, measured.peak_mb, measured.extra_mb, columns)


def by_sgd(X: FeatureMatrix, rows: np.ndarray, Y: np.ndarray, asked: np.ndarray) -> Probabilities:
    """Fit the project's classifier."""
    return make_classifier("linear", seed=SEED, C=C).fit(X, rows, Y).predict_proba(X, asked)


def by_liblinear(
    X: FeatureMatrix, rows: np.ndarray, Y: np.ndarray, asked: np.ndarray
) -> Probabilities:
    """Fit one model per tag by dual coordinate descent."""
    from sklearn.linear_model import LogisticRegression

    # liblinear takes double precision.
    features, wanted = X.sparse_rows(rows).astype(np.float64), X.sparse_rows(asked)
    P = np.empty((len(asked), Y.shape[1]), dtype=np.float32)
    for tag in range(Y.shape[1]):
        model = LogisticRegression(solver="liblinear", dual=True, C=C, tol=0.1, random_state=SEED)
        P[:, tag] = model.fit(features, Y[:, tag]).predict_proba(wanted)[:, 1]
    return P


def by_napkin(kind: str) -> Fit:
    """Return the fit of napkinXC's one-vs-rest (BR) or probabilistic label tree (PLT)."""

    def fit(X: FeatureMatrix, rows: np.ndarray, Y: np.ndarray, asked: np.ndarray) -> Any:
        import scipy.sparse as sp
        from napkinxc import models

        with tempfile.TemporaryDirectory() as folder:
            model = getattr(models, kind)(folder, verbose=False, liblinear_c=C)
            tags = [np.flatnonzero(own).tolist() for own in Y]
            model.fit(sp.csr_matrix(X.sparse_rows(rows)), tags)
            ranked = model.predict_proba(sp.csr_matrix(X.sparse_rows(asked)), top_k=Y.shape[1])
        P = np.zeros((len(asked), Y.shape[1]), dtype=np.float32)
        for place, best in enumerate(ranked):
            for tag, probability in best:
                P[place, tag] = probability
        return P

    return fit

"""Classifiers side by side on one split, and each beside the obvious way to fit the same.

Every row of the first table is a whole candidate: tuned on a part of the training articles, fitted
on all of them, scored on the test articles. Features are LSA vectors of 256 numbers, and, where it
says so, the vectors propagated over lists (2 hops). Compilation counts. One run each.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runner import SCORES, Row, measure, prepared, table
from tagsage.evaluate.judgement import evaluate_candidate
from tagsage.features.matrix import FeatureMatrix
from tagsage.learn.classifiers import make_classifier
from tagsage.learn.fitting import fit_candidate
from tagsage.learn.labels import Labels, label_corpus

SEED = 42
DIMENSIONS = 256
HOPS = 2
MIN_TAG_ARTICLES = 100
TEST_SHARE = 0.2
# What scikit-learn's regression over label sets can fit while one waits.
FEW_ROWS = 6000
BLOCKS = {"text": ("text",), "text+lists": ("text", *(f"hop{hop + 1}" for hop in range(HOPS)))}
# Those that one can wait for; the chain and the trees take tens of minutes.
TIMED = ("label_powerset", "ovr_logistic", "mlknn", "mlp")
CANDIDATES = (*(("text", name) for name in TIMED), ("text+lists", "mlp"))


def main(corpus: str) -> str:
    """Measure every classifier.

    Parameters
    ----------
    corpus : str
        Folder with articles.csv.gz and lists.csv.gz.

    Returns
    -------
    str
        Two Markdown tables.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        about = prepare(corpus, folder)
        rows = [candidate_row(folder, *candidate) for candidate in CANDIDATES]
        return "\n\n".join([
            about,
            "### Candidates: tuned, fitted, scored on the test articles",
            table(rows),
            "### One fit on text beside the obvious implementation",
            f"Label sets on {FEW_ROWS:,} training articles; one-vs-rest and mlp on all.",
            table(obvious_rows(folder)),
        ])


def prepare(corpus: str, folder: Path) -> str:
    """Write features and labels; returns a sentence about them."""
    import scipy.sparse as sp
    from tagsage.graph.lists import propagate_lists

    from tagsage.corpus.csv_source import read_csv_corpus
    from tagsage.vectors.lsa import LsaEmbedder
    from tagsage.vectors.text import article_texts

    source = [str(Path(corpus) / f"{name}.csv.gz") for name in ("articles", "lists")]
    read = read_csv_corpus(*source, max_rejected_share=1.0)
    articles = read.articles.sort_values("key", ignore_index=True)
    labels = label_corpus(
        articles["tags"], min_tag_articles=MIN_TAG_ARTICLES, test_share=TEST_SHARE, seed=SEED
    )
    (folder / "labels").mkdir()
    labels.save(folder / "labels")
    texts = article_texts(articles)
    embedder = LsaEmbedder.fit(texts, dimensions=DIMENSIONS, max_terms=50_000, seed=SEED)
    vectors = embedder.embed(texts)
    np.save(folder / "text.npy", vectors)
    row = articles.set_index("key").index.get_indexer(read.memberships["article"])
    lists, column = np.unique(read.memberships["list"].to_numpy(dtype=str), return_inverse=True)
    ones = np.ones(len(row), dtype=np.float32)
    incidence = sp.csr_array((ones, (row, column)), shape=(len(articles), len(lists)))
    for hop, propagated in enumerate(propagate_lists(incidence, vectors, hops=HOPS)):
        np.save(folder / f"hop{hop + 1}.npy", propagated)
    sets = len(np.unique(labels.Y_train, axis=0))
    return (
        f"{len(labels.train):,} training and {len(labels.test):,} test articles, "
        f"{len(labels.tags)} target tags, {sets:,} label sets in training."
    )


def load(folder: Path, feature_set: str) -> tuple[FeatureMatrix, Labels]:
    """Open features and labels."""
    blocks = [np.load(folder / f"{block}.npy", mmap_mode="r") for block in BLOCKS[feature_set]]
    return FeatureMatrix(blocks), Labels.load(folder / "labels")


def candidate_row(folder: Path, feature_set: str, classifier: str) -> Row:
    """Measure a candidate from its labels to its scores."""

    def call(loaded: tuple[FeatureMatrix, Labels]) -> dict[str, Any]:
        X, labels = loaded
        fitted = fit_candidate(
            X,
            labels.Y_train,
            labels.train_rows,
            tags=labels.tags,
            classifier=classifier,
            seed=SEED,
        )
        return evaluate_candidate(fitted, X, labels.Y_test, labels.test_rows).overall

    measured = measure(prepared(partial(load, folder, feature_set), call))
    columns = {heading: f"{measured.result[name]:.3f}" for name, heading in SCORES.items()}
    return Row(
        f"{feature_set}:{classifier}",
        measured.seconds,
        measured.peak_mb,
        measured.extra_mb,
        columns,
    )


def obvious_rows(folder: Path) -> list[Row]:
    """Measure single fits of ours, and of scikit-learn and scikit-multilearn as they come."""
    variants = {
        "label_powerset": partial(fit_ours, "label_powerset", FEW_ROWS),
        "LabelPowerset(LogisticRegression())": partial(fit_label_powerset, FEW_ROWS),
        "ovr_logistic": partial(fit_ours, "ovr_logistic", None),
        "OneVsRestClassifier(LogisticRegression())": partial(fit_one_vs_rest, None),
        "mlp, 10 epochs": partial(fit_ours, "mlp", None),
    }
    rows = []
    for name, call in variants.items():
        measured = measure(prepared(partial(load, folder, "text"), call))
        rows.append(Row(name, measured.seconds, measured.peak_mb, measured.extra_mb))
    return rows


def fit_ours(classifier: str, rows: int | None, loaded: tuple[FeatureMatrix, Labels]) -> None:
    """Fit one of the candidates' classifiers."""
    X, labels = loaded
    make_classifier(classifier, seed=SEED).fit(X, labels.train_rows[:rows], labels.Y_train[:rows])


def fit_label_powerset(rows: int | None, loaded: tuple[FeatureMatrix, Labels]) -> None:
    """Fit the study's model by the study's libraries; at most 100 steps, their default."""
    import warnings

    from sklearn.linear_model import LogisticRegression
    from skmultilearn.problem_transform import LabelPowerset

    X, labels = loaded
    warnings.simplefilter("ignore")
    model = LabelPowerset(LogisticRegression())
    model.fit(X.rows(labels.train_rows[:rows]), labels.Y_train[:rows].astype(np.int64))


def fit_one_vs_rest(rows: int | None, loaded: tuple[FeatureMatrix, Labels]) -> None:
    """Fit scikit-learn's one-vs-rest as it comes."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    X, labels = loaded
    model = OneVsRestClassifier(LogisticRegression(max_iter=1000))
    model.fit(X.rows(labels.train_rows[:rows]), labels.Y_train[:rows].astype(np.int64))

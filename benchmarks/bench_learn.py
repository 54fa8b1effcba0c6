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
from tagsage.evaluate.metrics import evaluate
from tagsage.features import Articles, FeatureMatrix, KnownArticles, blocks_of
from tagsage.features.fitting import fit_block, open_matrix
from tagsage.learn.classifiers import make_classifier
from tagsage.learn.fitting import fit_candidate
from tagsage.learn.labels import Labels, label_corpus
from tagsage.runner import LocalRunner
from tagsage.settings import Settings

SEED = 42
DIMENSIONS = 256
HOPS = 2
MIN_TAG_ARTICLES = 100
TEST_SHARE = 0.2
# What scikit-learn's regression over label sets can fit while one waits.
FEW_ROWS = 6000
FEATURE_SETS = ("text", "text+lists")
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
    from tagsage.corpus.csv_source import read_csv_corpus
    from tagsage.embed.lsa import LsaEmbedder
    from tagsage.embed.text import article_texts
    from tagsage.store.base import snapshot_of

    source = [str(Path(corpus) / f"{name}.csv.gz") for name in ("articles", "lists")]
    snapshot = snapshot_of(read_csv_corpus(*source, max_rejected_share=1.0))
    labels = label_corpus(
        snapshot.articles["tags"].tolist(),
        min_tag_articles=MIN_TAG_ARTICLES,
        test_share=TEST_SHARE,
        seed=SEED,
    )
    (folder / "labels").mkdir()
    labels.save(folder / "labels")
    texts = article_texts(snapshot.articles)
    embedder = LsaEmbedder.fit(texts, dimensions=DIMENSIONS, seed=SEED)
    articles = Articles.of_snapshot(snapshot, embedder.embed(texts))
    known = KnownArticles.of(articles, labels.train_rows, labels.Y_train)
    settings = Settings(lists_hops=HOPS, seed=SEED)
    for block in blocks_of(FEATURE_SETS[-1]):
        (folder / block).mkdir()
        fit_block(folder / block, block, articles, known, settings, LocalRunner())
    np.save(folder / "in_list.npy", known.in_known_list(known.mark(articles)))
    sets = len(np.unique(labels.Y_train, axis=0))
    return (
        f"{len(labels.train):,} training and {len(labels.test):,} test articles, "
        f"{len(labels.tags)} target tags, {sets:,} label sets in training."
    )


def load(folder: Path, feature_set: str) -> tuple[FeatureMatrix, Labels]:
    """Open features and labels."""
    folders = {block: folder / block for block in blocks_of(feature_set)}
    X = open_matrix(folders, feature_set, np.load(folder / "in_list.npy"))
    return X, Labels.load(folder / "labels")


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
        P, assigned = fitted.predict(X, labels.test_rows)
        return evaluate(P, labels.Y_test, assigned, labels.tags).overall

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

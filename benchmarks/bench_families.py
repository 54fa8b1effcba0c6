"""What near-copies make of scores and intervals: articles, families or authors as the unit.

For each, the linear model on words, lists and authors is fitted and scored on a split that divides
no unit. Beside it stands the interval of the score on the split of a run, which divides them, with
units drawn as a whole.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from tagsage.corpus.fields import UNKNOWN_AUTHOR
from tagsage.embed.text import article_texts
from tagsage.evaluate.article_results import ArticleResults
from tagsage.evaluate.bootstrap import paired_bootstrap
from tagsage.evaluate.metrics import METRIC_NAMES, evaluate
from tagsage.features import Articles, KnownArticles, blocks_of
from tagsage.features.fitting import fit_block, open_matrix
from tagsage.learn.candidate import Predictions
from tagsage.learn.families import families
from tagsage.learn.fitting import fit_candidate
from tagsage.learn.labels import Labels, label_corpus
from tagsage.learn.split import Split, split_by_family
from tagsage.runner import LocalRunner
from tagsage.settings import Settings

ARTICLE = "article"
FEATURES, CLASSIFIER = "words+list_ids+author_ids", "linear"
HEADINGS = ("unit", "units", "effective", "with others", *METRIC_NAMES.values())


def main(corpus: str) -> str:
    """Fit and score on each split; returns tables in Markdown.

    Parameters
    ----------
    corpus : str
        Folder with articles.csv.gz and lists.csv.gz.
    """
    from tagsage.corpus.csv_source import read_csv_corpus
    from tagsage.store.base import snapshot_of

    source = [str(Path(corpus) / f"{name}.csv.gz") for name in ("articles", "lists")]
    snapshot, settings = snapshot_of(read_csv_corpus(*source, max_rejected_share=1.0)), Settings()
    labels = label_corpus(
        snapshot.articles["tags"].tolist(),
        min_tag_articles=settings.min_tag_articles,
        test_share=settings.test_share,
        seed=settings.seed,
    )
    articles = Articles.of_snapshot(snapshot)
    splits, intervals, results = [], [], {}
    for name, unit in units(snapshot.articles).items():
        own, split = unit[labels.rows], Split(labels.train, labels.test)
        if name != ARTICLE:
            other = split_by_family(
                labels.Y, own, test_share=settings.test_share, seed=settings.seed
            )
            split = other or split
        P, assigned = score(articles, labels, split, settings)
        if name == ARTICLE:
            results[CLASSIFIER] = ArticleResults.of(P, labels.Y_test, assigned)
        scores = evaluate(P, labels.Y[split.test], assigned, labels.tags).overall
        cells = [f"{scores[metric]:.3f}" for metric in METRIC_NAMES]
        splits.append([name, *sizes(own), *cells])
        found = paired_bootstrap(
            labels.Y_test, results, clusters=own[labels.test], seed=settings.seed
        )
        bounds = found[["value", "low", "high"]].to_numpy()
        cells = [f"{value:.3f} [{low:.3f}, {high:.3f}]" for value, low, high in bounds]
        intervals.append([name, *sizes(own[labels.test]), *cells])
    return "\n".join([
        *("Scores on splits that divide no unit, of all tagged articles:", ""),
        *markdown(splits),
        *("", "Intervals on one split, of its test articles:", ""),
        *markdown(intervals),
    ])


def units(articles: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the unit of each article, by name of the unit."""
    authors = articles["author"].replace(UNKNOWN_AUTHOR, "")
    titles = articles["title"].fillna("").tolist()
    return {
        ARTICLE: np.arange(len(articles)),
        "family": families(titles, article_texts(articles), authors.tolist()),
        "author": pd.factorize(authors)[0].astype(np.int64),
    }


def score(articles: Articles, labels: Labels, split: Split, settings: Settings) -> Predictions:
    """Fit on one part of the labelled articles; return predictions for the other."""
    rows, Y = labels.rows[split.train], labels.Y[split.train]
    known = KnownArticles.of(articles, rows, Y)
    with tempfile.TemporaryDirectory() as name:
        folders = {block: Path(name) / block for block in blocks_of(FEATURES)}
        for block, folder in folders.items():
            folder.mkdir()
            fit_block(folder, block, articles, known, settings, LocalRunner())
        X = open_matrix(folders, FEATURES, known.in_known_list(known.mark(articles)))
        fitted = fit_candidate(
            X, Y, rows, tags=labels.tags, classifier=CLASSIFIER, seed=settings.seed
        )
        return fitted.predict(X, labels.rows[split.test])


def sizes(unit: np.ndarray) -> list[str]:
    """Return how many units there are, how many of equal size, and how much is not alone in one."""
    _, counts = np.unique(unit, return_counts=True)
    # L. Kish, Survey Sampling, 1965.
    effective = counts.sum() ** 2 / (counts**2).sum()
    shared = counts[counts > 1].sum() / counts.sum()
    return [f"{len(counts):,}", f"{effective:,.0f}", f"{shared:.0%}"]


def markdown(rows: list[list[str]]) -> list[str]:
    """Return the lines of a table."""
    lines = [[*HEADINGS], ["---"] + ["---:"] * (len(HEADINGS) - 1), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]

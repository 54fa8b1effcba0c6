"""What it gains to refresh the champion's list means, label sums and author sums every night.

A champion is fitted on nine tenths of the articles and of the lists, drawn at random. Then ten
nights bring a hundredth of the articles and of the lists each. Tags of test articles are never
known; those of other new articles are, once they come. Every night the test articles that a new
list holds are scored with the states of the first night, and with states of the night; weights,
calibration and thresholds stay. The last table has a model fitted anew on the last night besides.
The candidates are the default ones that can be refreshed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from tagsage.evaluate.article_results import ArticleResults
from tagsage.evaluate.bootstrap import paired_bootstrap
from tagsage.evaluate.metrics import METRIC_NAMES
from tagsage.features import BLOCKS, Articles, FeatureSet, KnownArticles, blocks_of
from tagsage.learn.candidate import FittedCandidate, Predictions
from tagsage.learn.fitting import fit_candidate, tuning_split
from tagsage.learn.labels import Labels, label_corpus
from tagsage.runner import LocalRunner
from tagsage.settings import Settings

SEED = 42
NIGHTS = 10
SHARE = 0.01  # of the articles, and of the lists, that come each night
STALE, REFRESHED, ANEW = "the first night's states", "refreshed", "fitted anew"

IntArray = npt.NDArray[np.int64]


def main(corpus: str) -> str:
    """Simulate the nights for each candidate; returns tables in Markdown.

    Parameters
    ----------
    corpus : str
        Folder with articles.csv.gz and lists.csv.gz.
    """
    world = World.read(corpus)
    return "\n\n".join(
        simulate(world, ":".join(candidate))
        for candidate in Settings().parsed_candidates()
        if any(BLOCKS[name].refreshable for name in blocks_of(candidate[0]))
    )


@dataclass(frozen=True)
class World:
    """A corpus, its labels, and the night on which each article and list comes; 0: was there."""

    articles: Articles
    labels: Labels
    night_of_article: IntArray
    night_of_list: IntArray

    @classmethod
    def read(cls, corpus: str) -> Self:
        """Read a corpus; vectors are LSA, fitted on the first night's texts."""
        from tagsage.corpus.csv_source import read_csv_corpus
        from tagsage.embed.lsa import LsaEmbedder
        from tagsage.store.base import snapshot_of

        source = [str(Path(corpus) / f"{name}.csv.gz") for name in ("articles", "lists")]
        snapshot = snapshot_of(read_csv_corpus(*source, max_rejected_share=1.0))
        settings = Settings(seed=SEED)
        labels = label_corpus(
            snapshot.articles["tags"].tolist(),
            min_tag_articles=settings.min_tag_articles,
            test_share=settings.test_share,
            seed=SEED,
        )
        articles, random = Articles.of_snapshot(snapshot), np.random.default_rng(SEED)
        of_article, of_list = (nights(n, random) for n in (len(articles), len(articles.list_names)))
        texts = [articles.texts[row] for row in np.flatnonzero(of_article == 0).tolist()]
        lsa = LsaEmbedder.fit(texts, dimensions=settings.lsa_dimensions, seed=SEED)
        return cls(articles.with_vectors(lsa.embed(articles.texts)), labels, of_article, of_list)

    def on(self, night: int) -> tuple[Articles, IntArray, npt.NDArray[np.bool_], IntArray]:
        """Return the articles of a night, the tagged training ones, their tags, and the test ones.

        The last three are positions among the articles, tags, and positions in the test part.
        """
        there = np.flatnonzero(self.night_of_article <= night)
        lists = np.flatnonzero(self.night_of_list <= night)
        articles = self.articles.take(there)
        names = articles.list_names[lists]
        articles = replace(articles, members=articles.members[:, lists], list_names=names)
        labels = self.labels
        known = self.night_of_article[labels.train_rows] <= night
        rows = np.searchsorted(there, labels.train_rows[known])
        test = np.flatnonzero(self.night_of_article[labels.test_rows] <= night)
        return articles, rows, labels.Y_train[known], test

    def lists_of_test(self, night: int) -> tuple[IntArray, IntArray]:
        """Return how many old and new lists hold each article of the test part on a night."""
        members = self.articles.members[self.labels.test_rows]
        old = self.night_of_list == 0
        new = ~old & (self.night_of_list <= night)
        return members @ old.astype(np.int64), members @ new.astype(np.int64)


def nights(n: int, random: np.random.Generator) -> IntArray:
    """Return the night on which each of n things comes."""
    per_night = round(SHARE * n)
    order = np.zeros(n, dtype=np.int64)
    order[: per_night * NIGHTS] = np.repeat(np.arange(1, NIGHTS + 1), per_night)
    return random.permutation(order)


def fit(world: World, night: int, candidate: str) -> tuple[FeatureSet, FittedCandidate]:
    """Fit a candidate on the training articles of a night."""
    articles, rows, Y, _ = world.on(night)
    feature_set, _, classifier = candidate.partition(":")
    settings, inner = Settings(seed=SEED), tuning_split(Y, seed=SEED)
    assert inner is not None
    made = []
    for part in (np.arange(len(rows)), inner.train):
        known = KnownArticles.of(articles, rows[part], Y[part])
        marked = known.mark(articles)
        blocks = {
            name: BLOCKS[name].fit(marked, settings, LocalRunner())
            for name in blocks_of(feature_set)
        }
        made.append(FeatureSet(known, blocks))
    fitted = fit_candidate(
        made[0].transform(articles),
        Y,
        rows,
        tags=world.labels.tags,
        classifier=classifier,
        seed=SEED,
        tuning=made[1].transform(articles),
    )
    return made[0], fitted


def predict(
    world: World, night: int, features: FeatureSet, fitted: FittedCandidate, asked: IntArray
) -> Predictions:
    """Tag some articles of the test part as they are on a night."""
    articles, *_ = world.on(night)
    there = np.flatnonzero(world.night_of_article <= night)
    rows = np.searchsorted(there, world.labels.test_rows[asked])
    return fitted.predict(features.transform(articles.take(rows)), np.arange(len(rows)))


def simulate(world: World, candidate: str) -> str:
    """Let the nights pass for one candidate."""
    features, fitted = fit(world, 0, candidate)
    lines = ["| night | test articles in new lists | micro-F1, stale | refreshed |"]
    lines += ["|---:|---:|---:|---:|"]
    now = features
    for night in range(1, NIGHTS + 1):
        articles, rows, Y, test = world.on(night)
        now = features.refreshed(articles, rows, Y, LocalRunner())
        _, new = world.lists_of_test(night)
        asked = test[new[test] > 0]
        truth = world.labels.Y_test[asked]
        scores = [
            ArticleResults.of(P, truth, assigned).scores(truth)["micro_f1"]
            for P, assigned in (predict(world, night, of, fitted, asked) for of in (features, now))
        ]
        lines.append(f"| {night} | {len(asked):,} | {scores[0]:.3f} | {scores[1]:.3f} |")
    models = {
        STALE: (features, fitted),
        REFRESHED: (now, fitted),
        ANEW: fit(world, NIGHTS, candidate),
    }
    return "\n".join([f"### {candidate}", "", *lines, "", *last_night(world, models)])


def last_night(world: World, models: dict[str, tuple[FeatureSet, FittedCandidate]]) -> list[str]:
    """Return a table of the scores on the last night by the lists that hold an article."""
    old, new = world.lists_of_test(NIGHTS)
    groups = {
        "in new lists alone": (new > 0) & (old == 0),
        "in new and old lists": (new > 0) & (old > 0),
        "in old lists alone": (new == 0) & (old > 0),
        "in no list": (new == 0) & (old == 0),
        "all": np.ones(len(old), dtype=np.bool_),
    }
    names = list(METRIC_NAMES.values())
    lines = [f"| test articles | states | {' | '.join(names)} |"]
    lines += [f"|---|---|{'---:|' * len(names)}"]
    for group, chosen in groups.items():
        asked = np.flatnonzero(chosen)
        if not len(asked):
            continue
        truth = world.labels.Y_test[asked]
        results = {}
        for name, model in models.items():
            P, assigned = predict(world, NIGHTS, *model, asked)
            results[name] = ArticleResults.of(P, truth, assigned)
            scores = results[name].scores(truth).values()
            shown = " | ".join(f"{score:.3f}" for score in scores)
            lines.append(f"| {group}: {len(asked):,} | {name} | {shown} |")
        found = paired_bootstrap(truth, results, pairs=[(REFRESHED, STALE)], seed=SEED)
        gains = found[found["baseline"].notna()]
        shown = " | ".join(
            f"{100 * gain:+.1f} [{100 * low:.1f}, {100 * high:.1f}]"
            for gain, low, high in gains[["value", "low", "high"]].to_numpy().tolist()
        )
        lines.append(f"| | gain of refreshing, points | {shown} |")
    return lines

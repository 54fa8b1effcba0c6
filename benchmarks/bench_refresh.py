"""What it gains to refresh the champion's list means, label sums and author sums every night.

A champion is fitted on nine tenths of the articles and of the lists. Then ten nights bring a
hundredth of the articles and of the lists each; and once more, fitted on half, a twentieth. Tags of
test articles are never known; those of other new articles are, once they come. Every night the test
articles that are there are scored with the states of the first night, and with states of the night;
weights, calibration and thresholds stay. What comes when is drawn several times, and all draws are
scored together; intervals draw test articles with all their answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

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
DRAWS = 5
NIGHTS = 10
SHARES = (0.01, 0.05)  # of the articles, and of the lists, that come each night
CANDIDATE = "words+list_ids+author_ids+text+lists+labels+authors:ensemble"
SHOWN = ("micro_f1", "macro_f1", "p_at_5")
STALE, REFRESHED = "the first night's states", "refreshed"

IntArray = npt.NDArray[np.int64]


def main(corpus: str) -> str:
    """Simulate the nights; returns tables in Markdown.

    Parameters
    ----------
    corpus : str
        Folder with articles.csv.gz and lists.csv.gz.
    """
    articles, labels = read(corpus)
    parts = [f"{CANDIDATE}, {DRAWS} draws. Gains of refreshing are in points."]
    parts += [of_share(articles, labels, share) for share in SHARES]
    return "\n\n".join(parts)


def of_share(articles: Articles, labels: Labels, share: float) -> str:
    """Simulate the nights where a share of the articles and of the lists comes each night."""
    answers = pd.concat([
        pd.DataFrame(simulate(World.drawn(articles, labels, share, SEED + draw)))
        for draw in range(DRAWS)
    ])
    by_night = [
        scored(f"night {night}", of_night[of_night["new"]], labels)
        for night, of_night in answers.groupby("night")
    ]
    last = answers[answers["night"] == NIGHTS]
    groups = {
        "in new lists alone": last["new"] & ~last["old"],
        "in new and old lists": last["new"] & last["old"],
        "in old lists alone": ~last["new"] & last["old"],
        "in no list": ~last["new"] & ~last["old"],
        "all": last["new"] | True,
    }
    by_group = [scored(name, last[chosen], labels) for name, chosen in groups.items()]
    return "\n\n".join([
        f"### Each night {share:.0%} new articles and lists",
        "Test articles in a list that came after the first night:",
        table(by_night),
        "Test articles on the last night, by the lists that hold them:",
        table(by_group),
    ])


@dataclass(frozen=True)
class World:
    """A corpus, its labels, and the night on which each article and list comes; 0: was there."""

    articles: Articles
    labels: Labels
    night_of_article: IntArray
    night_of_list: IntArray

    @classmethod
    def drawn(cls, articles: Articles, labels: Labels, share: float, seed: int) -> Self:
        """Draw what comes when; vectors are LSA, fitted on the first night's texts."""
        from tagsage.embed.lsa import LsaEmbedder

        random = np.random.default_rng(seed)
        of_article = nights(len(articles), share, random)
        texts = [articles.texts[row] for row in np.flatnonzero(of_article == 0).tolist()]
        lsa = LsaEmbedder.fit(texts, dimensions=Settings().lsa_dimensions, seed=SEED)
        of_list = nights(len(articles.list_names), share, random)
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


def read(corpus: str) -> tuple[Articles, Labels]:
    """Read a corpus and split it."""
    from tagsage.corpus.csv_source import read_csv_corpus
    from tagsage.store.base import snapshot_of

    source = [str(Path(corpus) / f"{name}.csv.gz") for name in ("articles", "lists")]
    snapshot = snapshot_of(read_csv_corpus(*source, max_rejected_share=1.0))
    settings = Settings()
    labels = label_corpus(
        snapshot.articles["tags"].tolist(),
        min_tag_articles=settings.min_tag_articles,
        test_share=settings.test_share,
        seed=SEED,
    )
    return Articles.of_snapshot(snapshot), labels


def nights(n: int, share: float, random: np.random.Generator) -> IntArray:
    """Return the night on which each of n things comes."""
    per_night = round(share * n)
    order = np.zeros(n, dtype=np.int64)
    order[: per_night * NIGHTS] = np.repeat(np.arange(1, NIGHTS + 1), per_night)
    return random.permutation(order)


def fit(world: World) -> tuple[FeatureSet, FittedCandidate]:
    """Fit the candidate on the training articles of the first night."""
    articles, rows, Y, _ = world.on(0)
    feature_set, _, classifier = CANDIDATE.partition(":")
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


def simulate(world: World) -> Iterator[dict[str, Any]]:
    """Let the nights pass; yields the answers of both models for each test article and night."""
    features, fitted = fit(world)
    for night in range(1, NIGHTS + 1):
        articles, rows, Y, test = world.on(night)
        refreshed = features.refreshed(articles, rows, Y, LocalRunner())
        old, new = world.lists_of_test(night)
        if night < NIGHTS:
            test = test[new[test] > 0]
        there = np.flatnonzero(world.night_of_article <= night)
        asked = articles.take(np.searchsorted(there, world.labels.test_rows[test]))
        answers = [
            fitted.predict(of.transform(asked), np.arange(len(test)))
            for of in (features, refreshed)
        ]
        for place, article in enumerate(test.tolist()):
            yield {
                "night": night,
                "article": article,
                "old": old[article] > 0,
                "new": new[article] > 0,
                **{
                    name: Predictions(P[place], assigned[place])
                    for name, (P, assigned) in zip((STALE, REFRESHED), answers, strict=True)
                },
            }


def scored(name: str, answers: pd.DataFrame, labels: Labels) -> dict[str, str]:
    """Return a row of a table: scores of some answers, and what refreshing gains."""
    row = {"": name, "answers": f"{len(answers):,}"}
    articles = answers["article"].to_numpy()
    truth = labels.Y_test[articles]
    results = {}
    for model in (STALE, REFRESHED):
        P, assigned = (np.stack(part) for part in zip(*answers[model], strict=True))
        results[model] = ArticleResults.of(P, truth, assigned)
    found = paired_bootstrap(
        truth, results, clusters=articles, pairs=[(REFRESHED, STALE)], seed=SEED
    )
    gains = found[found["baseline"].notna()].set_index("metric")
    before = results[STALE].scores(truth)
    for metric in SHOWN:
        gain, low, high = (100 * gains.loc[metric, key] for key in ("value", "low", "high"))
        row[METRIC_NAMES[metric]] = f"{before[metric]:.3f}"
        row[f"gain in {METRIC_NAMES[metric]}"] = f"{gain:+.1f} [{low:.1f}, {high:.1f}]"
    return row


def table(rows: Sequence[dict[str, str]]) -> str:
    """Return a table in Markdown."""
    lines = [
        list(rows[0]),
        ["---", *["---:"] * (len(rows[0]) - 1)],
        *(row.values() for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

"""Evidence on fresh articles: worked by hand, against a slow implementation, and by simulation."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict

import numpy as np
import pytest

from tagsage.evaluate.fresh_evidence import (
    MAX_SHARE,
    SPREAD,
    STAKES,
    FreshEvidence,
    article_f1,
    fresh_rows,
)


def after(evidence: FreshEvidence, *differences: float, margin: float = 0.0) -> FreshEvidence:
    return evidence.after(np.array(differences), np.arange(len(differences)), margin=margin)


def slow_e_value(runs, margin: float = 0.0) -> float:
    capitals = [1 / len(STAKES)] * len(STAKES)
    for differences in runs:
        mean = sum(capitals) / len(capitals)
        capitals = [(1 - SPREAD) * capital + SPREAD * mean for capital in capitals]
        for difference in differences:
            capitals = [
                capital * (1 + stake * (difference - margin))
                for capital, stake in zip(capitals, STAKES, strict=True)
            ]
    return sum(capitals)


def test_one_article_is_worth_what_is_staked_on_it():
    assert FreshEvidence().e_value == pytest.approx(1)
    # A sixth each is staked at 0, 2.5, 5, 10, 20 and 40%: 12.9% of all.
    assert after(FreshEvidence(), 0.5).e_value == pytest.approx(1 + 0.5 * 0.775 / 6)
    assert after(FreshEvidence(), -1.0).e_value == pytest.approx(1 - 0.775 / 6)
    assert after(FreshEvidence(), 0.5, margin=0.5).e_value == pytest.approx(1)


@pytest.mark.parametrize("margin", [0.0, 0.01, -0.005])
def test_runs_add_up_as_in_the_slow_implementation(margin):
    random = np.random.default_rng(0)
    runs = [random.uniform(-1, 1, size) * 0.3 + 0.05 for size in (3, 1, 40, 7)]
    evidence = FreshEvidence()
    for differences in runs:
        evidence = after(evidence, *differences, margin=margin)
    assert evidence.e_value == pytest.approx(slow_e_value(runs, margin))
    assert (evidence.articles, evidence.observations) == (51, 51)
    assert evidence.gain == pytest.approx(np.concatenate(runs).mean())
    # What is kept of it in a tag of the registry is all of it.
    assert FreshEvidence(**json.loads(json.dumps(asdict(evidence)))) == evidence


def test_near_copies_count_once_and_order_does_not_matter():
    evidence = FreshEvidence().after(np.array([0.4, 0.9, 0.0]), np.array([7, 3, 7]))
    assert evidence.e_value == pytest.approx(after(FreshEvidence(), 0.9, 0.2).e_value)
    assert (evidence.articles, evidence.observations) == (3, 2)


def test_run_without_fresh_articles_changes_nothing():
    evidence = after(FreshEvidence(), 0.3)
    assert after(evidence) == evidence


def test_capital_is_neither_gained_nor_lost_on_average_where_nobody_is_better():
    paths = itertools.product([-1.0, 1.0], repeat=6)
    found = []
    for path in paths:
        evidence = FreshEvidence()
        for run in (path[:1], path[1:4], path[4:]):
            evidence = after(evidence, *run)
        found.append(evidence.e_value)
    assert np.mean(found) == pytest.approx(1)


def highest(mean: float, *, champions: int, runs: int = 100, articles: int = 20) -> np.ndarray:
    """Return the highest e-value of each champion; most articles get the same F1 of both."""
    random, found = np.random.default_rng(1), []
    for _ in range(champions):
        evidence, most = FreshEvidence(), 0.0
        differences = random.choice([-0.4, 0, 0.4], p=[0.1, 0.8, 0.1], size=(runs, articles))
        for run in differences + mean:
            evidence = after(evidence, *run)
            most = max(most, evidence.e_value)
        found.append(most)
    return np.array(found)


def test_looking_every_run_is_wrong_no_more_often_than_promised():
    most = highest(0.0, champions=200)
    for chance in (0.5, 0.2, 0.05):
        assert (most >= 1 / chance).mean() <= chance
    assert (most >= 2).mean() > 0.1


def test_better_winners_are_found():
    assert (highest(0.03, champions=20) >= 40).all()


def test_winners_that_are_better_only_later_are_found_soon():
    evidence, random = FreshEvidence(), np.random.default_rng(2)
    for _ in range(200):
        evidence = after(evidence, *random.normal(-0.01, 0.15, 50))
    assert evidence.e_value < 1
    runs = 0
    while evidence.e_value < 40:
        evidence = after(evidence, *random.normal(0.05, 0.15, 50))
        runs += 1
    assert runs <= 20


def test_fresh_are_articles_whose_tags_the_last_run_did_not_have():
    ids = np.arange(100, 300, dtype=np.uint64)
    is_tagged = np.ones(200, dtype=bool)
    is_tagged[5] = False
    seen = np.delete(ids, [5, 6, 7])
    assert fresh_rows(ids, is_tagged, seen, seed=0).tolist() == [6, 7]
    assert fresh_rows(ids, is_tagged, ids, seed=0).tolist() == []
    # Of very many, most are learned from at once.
    none_seen = fresh_rows(ids, is_tagged, ids[:0], seed=0)
    assert len(set(none_seen)) == len(none_seen) == int(MAX_SHARE * 199)
    assert sorted(none_seen) == none_seen.tolist()
    assert 5 not in none_seen


def test_f1_of_an_article_is_against_all_tags_that_people_gave():
    given = [["x", "y"], ["x", "rare"], ["rare"], ["y"]]
    assigned = np.array([[1, 1], [1, 1], [0, 0], [1, 0]], dtype=bool)
    assert article_f1(given, assigned, ["x", "y"]).tolist() == [1.0, 0.5, 0.0, 0.0]

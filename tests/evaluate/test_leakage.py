"""No label of a scenario's test part reaches a feature, a weight, a threshold or a choice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tagsage.evaluate import scenarios
from tagsage.evaluate.scenarios import GRAPH, TEXT, Trained
from tagsage.evaluate.scored_candidate import ScoredCandidate
from tagsage.features import needs_lists
from tagsage.learn.labels import Labels
from tagsage.learn.split import Split, split_by_family, split_by_time, stratified_split
from tagsage.settings.candidates import DEFAULT_CANDIDATES
from tests.evaluate.scenario_corpus import (
    ARTICLES,
    DATES,
    LABELS,
    SETTINGS,
    TAGGED,
    N,
    evaluated,
    inputs_of,
    rows_of,
)

SCENARIOS = ("inductive", "cold_start", "time", "grouped", "split 43", "share 0.5")
ON_TEXT, WITH_LISTS = (
    [name for name in DEFAULT_CANDIDATES.split(",") if needs_lists(name.partition(":")[0]) is lists]
    for lists in (False, True)
)
# Every default candidate once.
PAIRS = [
    {TEXT: ON_TEXT[place % len(ON_TEXT)], GRAPH: WITH_LISTS[place % len(WITH_LISTS)]}
    for place in range(max(len(ON_TEXT), len(WITH_LISTS)))
]


def split_of(scenario: str) -> Split:
    """Return the split that a scenario scores on, before any label is flipped."""
    options = {"test_share": SETTINGS.test_share, "seed": SETTINGS.seed}
    if scenario == "time":
        return split_by_time(DATES[TAGGED], test_share=SETTINGS.test_share)
    if scenario == "grouped":
        return split_by_family(LABELS.Y, LABELS.families, **options)
    if scenario.startswith("split"):
        seed = int(scenario.split()[1])
        return stratified_split(LABELS.Y, test_share=SETTINGS.test_share, seed=seed)
    return Split(LABELS.train, LABELS.test)


def flipped(labels: Labels, test: np.ndarray) -> Labels:
    Y = labels.Y.copy()
    Y[test] ^= True
    return replace(labels, Y=Y)


def state_of(trained: Trained) -> dict[str, Any]:
    """Return all that was learned: features, weights, calibration, thresholds, chosen settings."""
    state: dict[str, Any] = {"X": rows_of(trained.X, np.arange(N))}
    for name in ("main", "fallback"):
        part = getattr(trained.fitted, name)
        if part is not None:
            state |= {f"{name} {key}": array for key, array in part.classifier.arrays.items()}
            state[name] = part.to_json(), part.classifier.settings, part.classifier.fitted
    return state


def learned_and_scored(
    scenario: str, names: dict[str, str], labels: Labels, folder: Path
) -> tuple[list[dict[str, Any]], list[ScoredCandidate]]:
    inputs = inputs_of(ARTICLES, folder, names, labels)
    if scenario == "cold_start" and inputs.compared.fallback is None:
        pytest.skip("its features say nothing of an article in no list")
    rows, made = evaluated(inputs, scenario, folder)
    return list(map(state_of, made)), [ScoredCandidate.load(folder / row["folder"]) for row in rows]


def same(one: Any, other: Any) -> bool:
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


CASES = [
    *((scenario, PAIRS[0]) for scenario in SCENARIOS),
    # Trained with hidden articles and without.
    *((scenario, names) for scenario in ("inductive", "grouped") for names in PAIRS[1:]),
]


@pytest.mark.usefixtures("small_models")
@pytest.mark.parametrize(
    ("scenario", "names"), CASES, ids=[f"{scenario} {names[GRAPH]}" for scenario, names in CASES]
)
def test_flipping_every_test_label_of_a_scenario_changes_nothing_that_is_learned(
    scenario, names, tmp_path, monkeypatch
):
    split = split_of(scenario)
    # Such a split is to spread tags evenly, so it may depend on all of them.
    for name in ("split_by_family", "stratified_split"):
        monkeypatch.setattr(scenarios, name, lambda *_, **__: split)
    states, scored = learned_and_scored(scenario, names, LABELS, tmp_path / "one")
    turned = flipped(LABELS, split.test)
    other_states, other_scored = learned_and_scored(scenario, names, turned, tmp_path / "other")
    assert len(states) == {"inductive": 1, "cold_start": 0, "split 43": 3}.get(scenario, 2)
    for state, other in zip(states, other_states, strict=True):
        assert state.keys() == other.keys()
        assert [key for key in state if not same(state[key], other[key])] == []
    for one, other in zip(scored, other_scored, strict=True):
        assert one.scores["micro_f1"] != other.scores["micro_f1"]
        assert np.array_equal(one.results.assigned.toarray(), other.results.assigned.toarray())

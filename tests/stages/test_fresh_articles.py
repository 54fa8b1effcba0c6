"""Which articles a run holds out as fresh, and that their evidence counts once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from tagsage.evaluate.fresh_evidence import FreshEvidence
from tagsage.evaluate.frozen_test import FrozenTest
from tagsage.features import article_ids
from tagsage.registry import versions
from tagsage.registry.versions import RegisteredModel, Version
from tagsage.run_context import TRIAL, RunContext
from tagsage.settings import Settings
from tagsage.stages import fresh_articles
from tagsage.stages.fresh_articles import FRESH_FILE, hold_out, with_fresh_articles

KEYS = [f"a{row}" for row in range(100)]
# The articles a0 to a9 have no tags; the last run knew of tags of all from a13 on.
ARTICLES = pd.DataFrame({"key": KEYS, "tags": [[]] * 10 + [["x"]] * 90})


def version(number: str, run_id: str, *aliases: str) -> Version:
    tags = {"tagsage.decision": "{}", "tagsage.run_id": run_id}
    return Version(number, f"mlflow {run_id}", tags, aliases=aliases)


@pytest.fixture
def registry(monkeypatch):
    """Return the registry's versions, newest first, to be changed: version 1 is champion."""
    found = [version("2", "n2"), version("1", "n1", "champion")]

    def load_frozen(tracking, wanted, folder) -> bool:
        tagged = article_ids(KEYS[13:] if wanted.number == "2" else [])
        nobody, none = article_ids([]), sp.csr_array((0, 1), dtype=np.float64)
        FrozenTest(["x"], nobody, nobody, tagged, none, {}, 0.2, 42).save(folder)
        return True

    monkeypatch.setattr(fresh_articles, "tracking_of", lambda settings: None)
    monkeypatch.setattr(versions, "load_frozen", load_frozen)
    monkeypatch.setattr(
        versions, "registered_model", lambda tracking, name: RegisteredModel(name, tuple(found))
    )
    return found


@pytest.fixture
def run(tmp_path) -> RunContext:
    return RunContext("n3", Settings(workspace=str(tmp_path / "workspace")))


def test_articles_tagged_since_the_last_run_are_held_out(run, registry):
    assert hold_out(run, ARTICLES).tolist() == [10, 11, 12]


def test_run_that_runs_again_holds_out_the_same(run, registry):
    before = hold_out(run, ARTICLES)
    registry.insert(0, version("3", "n3", "champion"))
    registry.insert(0, version("4", "n4"))
    assert hold_out(run, ARTICLES).tolist() == before.tolist()


def test_nothing_is_held_out_without_a_champion_or_in_a_trial(run, registry):
    run.record(TRIAL, True)
    assert hold_out(run, ARTICLES).tolist() == []
    del registry[1]
    assert hold_out(RunContext("n4", run.settings), ARTICLES).tolist() == []


def test_fresh_articles_count_only_while_no_other_run_has_counted_them(run, registry, monkeypatch):
    fresh = np.stack([hold_out(run, ARTICLES), [7, 8, 8]])

    def write(folder: Path) -> None:
        np.save(folder / FRESH_FILE, fresh)

    split = run.artifact("split", {}, write, code=())
    f1 = {"3": np.array([1.0, 0.5, 0.5]), "1": np.array([0.0, 0.5, 1.0])}
    monkeypatch.setattr(fresh_articles, "_f1", lambda *arguments: f1[arguments[4].number])

    def evidence(last: Version) -> FreshEvidence:
        pair = (version("3", "n3"), registry[1])
        return with_fresh_articles(run, FreshEvidence(), "", split.ref, {}, pair, last)

    counted = evidence(registry[0])
    expected = FreshEvidence().after(np.array([1.0, -0.25]), np.arange(2))
    assert counted.log_capitals == expected.log_capitals
    assert (counted.articles, counted.observations) == (3, 2)
    assert evidence(registry[0]) == counted
    assert evidence(version("4", "n4")) == FreshEvidence()

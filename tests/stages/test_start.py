"""How a run begins: whether it is a trial."""

from __future__ import annotations

import pytest

from tagsage.registry.runs import parent_run
from tagsage.run_context import RunContext
from tagsage.stages import start, tracking_of


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Return a function that starts a run with candidates of its own; the configured are others."""
    monkeypatch.setenv("TAGSAGE_CANDIDATES", "text:mlp,lists:mlp")

    def begun(run_id: str, candidates: str | None) -> RunContext:
        overrides = {"workspace": str(tmp_path), "candidates": candidates}
        return RunContext.of(start(run_id, overrides))

    return begun


def crown(run: RunContext) -> None:
    """Make a version champion that nothing is in."""
    client, name = tracking_of(run.settings).client, run.settings.registered_model
    client.create_registered_model(name)
    client.create_model_version(name, source=str(run.workspace.local_folder()))
    client.set_registered_model_alias(name, "champion", "1")


def mark_of(run: RunContext) -> str | None:
    tracking = tracking_of(run.settings)
    return tracking.client.get_run(parent_run(tracking, run.run_id)).data.tags.get("tagsage.trial")


def test_run_with_other_candidates_than_the_configured_ones_is_a_trial_beside_a_champion(
    begin, monkeypatch
):
    first = begin("first", "text:ovr_logistic")
    assert (first.is_trial, mark_of(first)) == (False, None)
    crown(first)
    tried = begin("tried", "text:ovr_logistic")
    assert (tried.is_trial, mark_of(tried)) == (True, "true")
    # As a form sends them that was left as it was, or in another order, or not at all.
    for run_id, same in (
        ("form", "text:mlp,lists:mlp"),
        ("order", "lists:mlp, text:mlp"),
        ("none", None),
    ):
        assert not begin(run_id, same).is_trial
    # A run that is begun again is what it was at first.
    monkeypatch.setenv("TAGSAGE_CANDIDATES", "text:ovr_logistic")
    assert not begin("first", "text:ovr_logistic").is_trial
    assert begin("tried", "text:ovr_logistic").is_trial

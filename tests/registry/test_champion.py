"""Who is champion: what runs decide is carried out once, and people have the last word."""

import json
import re
from dataclasses import asdict

import pytest

from tagsage.errors import TagsageError
from tagsage.evaluate.promotion import Decision
from tagsage.registry.champion import (
    carry_out,
    kept_decision,
    last_decided,
    pin,
    pinned_sentence,
    promote_version,
    refresh,
    roll_back,
    unpin,
)
from tagsage.registry.versions import load_frozen, load_version, registered_model

ANN = {"who": "ann", "why": "it reads better"}


@pytest.fixture
def add(tracking, name):
    """Return a function that adds a version of no content: only the registry is looked at."""

    def add() -> str:
        if not registered_model(tracking, name).versions:
            tracking.client.create_registered_model(name)
        return str(tracking.client.create_model_version(name, source=str(tracking.folder)).version)

    return add


@pytest.fixture
def champion(tracking, name):
    """Return a function that returns the champion's number; empty when there is none."""

    def champion() -> str:
        found = registered_model(tracking, name).champion
        return found.number if found else ""

    return champion


@pytest.fixture
def run(tracking, name, add, champion):
    """Return a function that decides as a run does, against the present champion."""

    def run(run_id: str, *, promoted: bool = True, version: str | None = None):
        version = version or add()
        reason = f"{'Promoted' if promoted else 'Not promoted'}: so it is."
        decision = Decision(promoted, reason, version, champion(), 0.6, None, True)
        return carry_out(tracking, run_id, name=name, version=version, decision=decision)

    return run


@pytest.fixture
def decided(tracking, name, add, champion):
    """Return a function that keeps the decision to promote, as a run does that is killed then."""

    def decided() -> str:
        version = add()
        decision = Decision(True, "Promoted: so it is.", version, champion(), 0.6, 0.5, True)
        text = json.dumps(asdict(decision))
        tracking.client.set_model_version_tag(name, version, "tagsage.decision", text)
        return version

    return decided


def test_run_promotes_or_not_and_its_decision_is_kept(tracking, name, run, champion):
    first, now = run("n1")
    assert (first.promoted, now, champion()) == (True, "1", "1")
    second, now = run("n2", promoted=False)
    assert (second.promoted, now, champion()) == (False, "1", "1")
    assert kept_decision(tracking, name, "1") == first
    # Run again: compared with itself it would be decided otherwise.
    assert run("n1", promoted=False, version="1") == (first, "1")
    assert registered_model(tracking, name).version("1").tags.keys() == {"tagsage.decision"}


@pytest.mark.parametrize("steps", range(4))
def test_run_killed_while_it_promotes_ends_it_when_it_runs_again(
    tracking, name, run, decided, champion, steps
):
    run("n1")
    version = decided()
    client = tracking.client
    for step in [
        lambda: client.set_model_version_tag(name, "1", "tagsage.replaced", "by version 2"),
        lambda: client.set_model_version_tag(name, version, "tagsage.previous", "1"),
        lambda: client.set_registered_model_alias(name, "champion", version),
    ][:steps]:
        step()
    for _ in range(2):
        decision, now = run("n2", version=version)
        assert (decision.promoted, now, champion()) == (True, "2", "2")
    roll_back(tracking, name, **ANN)
    assert champion() == "1"


@pytest.mark.parametrize(
    ("change", "stands", "why"),
    [
        (lambda tracking, name: roll_back(tracking, name, **ANN), "1", "by ann at .*reads better"),
        (lambda tracking, name: promote_version(tracking, name, "1", **ANN), "1", "by ann"),
        (lambda tracking, name: promote_version(tracking, name, "3", **ANN), "3", "now version 3"),
        (lambda tracking, name: pin(tracking, name, "1", **ANN), "1", "version 1 is pinned by ann"),
    ],
    ids=["rolled back", "older by hand", "newer by hand", "pinned"],
)
def test_older_run_that_runs_again_undoes_nothing(
    tracking, name, run, champion, change, stands, why
):
    run("n1")
    run("n2")
    run("n3", promoted=False)
    change(tracking, name)
    for run_id, version in (("n1", "1"), ("n2", "2")):
        decision, now = run(run_id, version=version)
        assert (now, champion()) == (stands, stands)
    assert not decision.promoted
    assert re.search(f"^Not promoted again: since version 2 was chosen, .*{why}", decision.reason)


def test_rollback_before_a_killed_run_runs_again_stands(tracking, name, run, decided, champion):
    run("n1")
    run("n2")
    version = decided()
    roll_back(tracking, name, **ANN)
    decision, now = run("n3", version=version)
    assert (decision.promoted, now, champion()) == (False, "1", "1")
    # The next run may promote again.
    assert run("n4")[1] == "4"


def test_rollbacks_go_back_step_by_step_and_a_promotion_begins_anew(tracking, name, run, champion):
    for run_id in ("n1", "n2", "n3"):
        run(run_id)
    assert roll_back(tracking, name, **ANN) == "Version 2 is champion now; version 3 was it before."
    roll_back(tracking, name, **ANN)
    assert champion() == "1"
    with pytest.raises(TagsageError, match="no champion before version 1 to go back to"):
        roll_back(tracking, name, **ANN)
    promote_version(tracking, name, "3", **ANN)
    roll_back(tracking, name, **ANN)
    assert champion() == "1"


def test_rollback_goes_to_no_deleted_version_and_to_none_that_was_not_champion(
    tracking, name, run, decided
):
    run("n1")
    decided()
    run("n3")
    tracking.client.delete_model_version(name, "1")
    with pytest.raises(TagsageError, match="no champion before version 3 to go back to"):
        roll_back(tracking, name, **ANN)


def test_person_promotes_with_name_time_and_reason(tracking, name, run):
    run("n1")
    run("n2", promoted=False)
    said = promote_version(tracking, name, "2", **ANN)
    assert said == "Version 2 is champion now; version 1 was it before."
    replaced = registered_model(tracking, name).version("1").tags["tagsage.replaced"]
    assert replaced.startswith("by version 2, by ann at 2")
    assert replaced.endswith("+00:00: it reads better")
    assert promote_version(tracking, name, "2", **ANN) == "Version 2 is champion already."


def test_nobody_changes_a_pinned_champion(tracking, name, run, champion):
    run("n1")
    run("n2", promoted=False)
    pin(tracking, name, **ANN)
    assert pinned_sentence(registered_model(tracking, name)).startswith(
        "version 1 is pinned by ann at 2"
    )
    assert run("n3")[1] == "1"
    for change in (
        lambda: promote_version(tracking, name, "2", **ANN),
        lambda: roll_back(tracking, name, **ANN),
        lambda: pin(tracking, name, "2", **ANN),
    ):
        with pytest.raises(TagsageError, match=r"version 1 is pinned by ann .*unpin` first\."):
            change()
    unpin(tracking, name)
    assert pinned_sentence(registered_model(tracking, name)) == ""
    assert run("n4")[1] == "4"
    pin(tracking, name, "2", **ANN)
    assert champion() == "2"
    unpin(tracking, name)
    roll_back(tracking, name, **ANN)
    assert champion() == "4"


def test_pinned_champion_that_was_deleted_can_be_unpinned(tracking, name, run, add):
    run("n1")
    add()
    pin(tracking, name, **ANN)
    tracking.client.delete_model_version(name, "1")
    assert pinned_sentence(registered_model(tracking, name)).startswith(
        "the champion, since deleted, is pinned by ann"
    )
    with pytest.raises(TagsageError, match="has no champion of the model"):
        load_version(tracking, name)
    unpin(tracking, name)
    for change, said in (
        (lambda: pin(tracking, name, **ANN), "has no champion to pin"),
        (lambda: roll_back(tracking, name, **ANN), "no champion before today to go back to"),
        (lambda: unpin(tracking, name), "is not pinned; there is nothing to do"),
    ):
        with pytest.raises(TagsageError, match=said):
            change()


@pytest.mark.parametrize("version", ["7", "x'; DROP TABLE", "9" * 60])
def test_unknown_version_is_an_error_of_one_sentence(tracking, name, run, champion, version):
    run("n1")
    for change in (promote_version, pin):
        with pytest.raises(TagsageError, match=r"has no version .*`tagsage model list` shows"):
            change(tracking, name, version, **ANN)
    assert champion() == "1"


@pytest.fixture
def refreshed(tracking, name, tagger_folder):
    """Return a function that refreshes a champion, as a run does, and returns who is champion."""

    def refreshed(run_id: str, champion: str, *, states: str = "sha256:b") -> str:
        version = registered_model(tracking, name).version(champion)
        return refresh(
            tracking,
            run_id,
            version,
            name=name,
            tagger=tagger_folder,
            tagger_ref=f"refreshed-{states}",
            states_digest=states,
        )

    return refreshed


def test_a_refreshed_champion_takes_its_place_with_all_that_it_had(
    tracking, name, register, run, run_id, refreshed, champion, tmp_path
):
    run(run_id, version=register(tracking, name, run_id))
    for _ in range(2):
        assert refreshed(f"{run_id}-2", "1") == champion() == "2"
    model = registered_model(tracking, name)
    old, new = model.version("1"), model.version("2")
    assert len(model.versions) == 2
    assert (new.candidate, new.micro_f1, new.aliases) == (old.candidate, 0.6, ("champion",))
    assert kept_decision(tracking, name, "2") == kept_decision(tracking, name, "1")
    assert load_frozen(tracking, new, tmp_path / "frozen")
    answer = load_version(tracking, name).predict([{"title": "new brakes", "lists": ["garage"]}])
    assert answer["tags"].tolist() == [["cars"]]
    # The next night's says whose weights these are, too.
    assert refreshed(f"{run_id}-3", "2", states="sha256:c") == "3"
    newest = registered_model(tracking, name).version("3").tags
    assert (newest["tagsage.refreshed_from"], newest["tagsage.states_digest"]) == ("1", "sha256:c")
    assert "tagsage.replaced" not in newest


def test_a_champion_that_people_chose_meanwhile_is_not_replaced_by_a_refreshed_one(
    tracking, name, register, run, run_id, refreshed, champion
):
    run(run_id, version=register(tracking, name, run_id))
    run(f"{run_id}-2", version=register(tracking, name, f"{run_id}-2"))
    promote_version(tracking, name, "1", **ANN)
    assert refreshed(f"{run_id}-3", "2") == champion() == "1"
    pin(tracking, name, **ANN)
    assert refreshed(f"{run_id}-3", "1", states="sha256:c") == champion() == "1"


def test_a_rollback_from_a_refreshed_champion_goes_to_the_one_before_and_stands(
    tracking, name, register, run, run_id, refreshed, champion
):
    run(run_id, version=register(tracking, name, run_id))
    run(f"{run_id}-2", version=register(tracking, name, f"{run_id}-2"))
    assert refreshed(f"{run_id}-3", "2") == "3"
    roll_back(tracking, name, **ANN)
    assert champion() == "1"
    # The run whose winner it was is run again.
    decision, now = run(f"{run_id}-2", version="2")
    assert (decision.promoted, now, champion()) == (False, "1", "1")


def test_last_decision_is_the_newest_of_another_run_that_is_no_trial(tracking, name, add, run):
    def last(run_id: str):
        found = last_decided(registered_model(tracking, name), run_id=run_id)
        return found.number if found else None

    run("n1")
    for run_id in ("n1", "n2", "n3"):
        version = "1" if run_id == "n1" else add()
        tracking.client.set_model_version_tag(name, version, "tagsage.run_id", run_id)
    # Version 2 was decided on, version 3 not yet: its run was killed, and runs again.
    run("n2", promoted=False, version="2")
    assert [last(run_id) for run_id in ("n1", "n2", "n3", "n4")] == ["2", "1", "2", "2"]
    run("n3", promoted=False, version="3")
    assert [last(run_id) for run_id in ("n2", "n3", "n4")] == ["3", "2", "3"]
    tracking.client.set_model_version_tag(name, "3", "tagsage.trial", "true")
    assert last("n4") == "2"
    # A champion that was refreshed has the decision of what it was made of.
    tracking.client.set_model_version_tag(name, "2", "tagsage.refreshed_from", "1")
    assert last("n4") == "1"

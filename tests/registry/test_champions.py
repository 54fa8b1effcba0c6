"""Who is champion: what runs decide and people say, how it is kept, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import uuid

import pytest

from tagsage.errors import TagsageError
from tagsage.evaluate.promotion import Decision
from tagsage.registry.champions import (
    carry_out,
    kept_decision,
    pin,
    promote_version,
    roll_back,
    unpin,
)
from tagsage.registry.history import Event, registered, write_event
from tagsage.registry.registry import load_champion, register_winner
from tagsage.registry.runs import log_candidate, log_run
from tagsage.registry.store import initialise

CANDIDATE = "text+lists:ovr_logistic"
ANN = {"who": "ann", "why": "it reads better"}


@pytest.fixture
def name() -> str:
    return f"tagger-{uuid.uuid4().hex}"


@pytest.fixture
def add(tracking, name):
    """Return a function that adds a version of no content: only the registry is looked at."""

    def add() -> str:
        if not tracking.client.search_registered_models(f"name = '{name}'"):
            tracking.client.create_registered_model(name)
        return str(tracking.client.create_model_version(name, source=str(tracking.folder)).version)

    return add


@pytest.fixture
def run(tracking, name, add):
    """Return a function that runs a run's decision: against the present champion."""

    def run(run_id: str, *, promoted: bool = True, version: str | None = None):
        version = version or add()
        before = registered(tracking, name).champion
        reason = f"{'Promoted' if promoted else 'Not promoted'}: so it is."
        decision = Decision(promoted, reason, version, before, 0.6, None, True)
        return carry_out(tracking, run_id, name=name, version=version, decision=decision)

    return run


def champion(tracking, name) -> str:
    return registered(tracking, name).champion


def tags_of(tracking, name) -> dict[str, str]:
    return tracking.client.get_registered_model(name).tags


def decided(tracking, name, run, version: str, before: str) -> Decision:
    """Keep the decision to promote a new version, as a run that is killed then does."""
    run(f"n{version}", promoted=False)
    decision = Decision(True, "Promoted: so it is.", version, before, 0.6, 0.5, True)
    text = json.dumps(decision.to_json())
    tracking.client.set_model_version_tag(name, version, "tagsage.decision", text)
    return decision


def test_run_is_kept_on_its_version_and_as_an_event(tracking, name, run):
    decision, now = run("n1")
    assert (decision.promoted, now, champion(tracking, name)) == (True, "1", "1")
    assert kept_decision(tracking, name, "1") == decision
    (event,) = registered(tracking, name).events
    assert (event.action, event.version, event.before) == ("run", "1", "")
    assert (event.who, event.why) == ("n1", "Promoted: so it is.")


def test_run_that_does_not_promote_changes_nothing(tracking, name, run):
    run("n1")
    decision, now = run("n2", promoted=False)
    assert (decision.promoted, now, champion(tracking, name)) == (False, "1", "1")
    assert len(registered(tracking, name).events) == 1


def test_run_run_again_repeats_the_decision_that_it_made(tracking, name, run):
    first, _ = run("n1")
    # Compared with itself it would be decided otherwise.
    again, now = run("n1", promoted=False, version="1")
    assert (again, now) == (first, "1")
    assert len(registered(tracking, name).events) == 1


@pytest.mark.parametrize("moved", [False, True], ids=["before", "after the alias"])
def test_run_killed_while_it_carries_its_decision_out_ends_it(tracking, name, run, moved):
    run("n1")
    decision = decided(tracking, name, run, "2", "1")
    if moved:
        tracking.client.set_registered_model_alias(name, "champion", "2")
    again, now = run("n2", version="2")
    assert (again, now, champion(tracking, name)) == (decision, "2", "2")
    assert [event.version for event in registered(tracking, name).events] == ["1", "2"]


def test_old_run_run_again_leaves_the_later_champion(tracking, name, run):
    run("n1")
    run("n2")
    decision, now = run("n1", version="1")
    assert (decision.promoted, now, champion(tracking, name)) == (False, "2", "2")
    assert decision.reason.startswith("Not promoted again: since version 1 was chosen, the ")
    assert "now version 2 is champion (run by n2 at " in decision.reason


def test_run_run_again_does_not_undo_a_rollback(tracking, name, run):
    run("n1")
    run("n2")
    roll_back(tracking, name, **ANN)
    decision, now = run("n2", version="2")
    assert (decision.promoted, now, champion(tracking, name)) == (False, "1", "1")
    assert "(rollback by ann at " in decision.reason
    assert "it reads better" in decision.reason
    # The next run may promote again.
    assert run("n3")[1] == "3"


def test_rollback_of_what_a_killed_run_promoted_without_an_event_stands(tracking, name, run):
    run("n1")
    decided(tracking, name, run, "2", "1")
    tracking.client.set_registered_model_alias(name, "champion", "2")
    roll_back(tracking, name, **ANN)
    decision, now = run("n2", version="2")
    assert (decision.promoted, now, champion(tracking, name)) == (False, "1", "1")
    assert "(rollback by ann at " in decision.reason


def test_rollback_between_a_decision_and_its_end_stands(tracking, name, run):
    run("n1")
    run("n2")
    decided(tracking, name, run, "3", "2")
    roll_back(tracking, name, **ANN)
    assert run("n3", version="3")[1] == "1"


def test_rollbacks_walk_back_and_a_promotion_begins_anew(tracking, name, run):
    for run_id in ("n1", "n2", "n3"):
        run(run_id)
    assert roll_back(tracking, name, **ANN) == "Version 2 is champion now; version 3 was it before."
    roll_back(tracking, name, **ANN)
    assert champion(tracking, name) == "1"
    with pytest.raises(TagsageError, match="no champion before version 1 to go back to"):
        roll_back(tracking, name, **ANN)
    promote_version(tracking, name, "3", **ANN)
    roll_back(tracking, name, **ANN)
    assert champion(tracking, name) == "1"
    actions = [event.action for event in registered(tracking, name).events]
    assert actions == ["run"] * 3 + ["rollback"] * 2 + ["promote", "rollback"]


def test_rollback_passes_over_versions_that_were_deleted(tracking, name, run):
    for run_id in ("n1", "n2", "n3"):
        run(run_id)
    tracking.client.delete_model_version(name, "2")
    roll_back(tracking, name, **ANN)
    assert champion(tracking, name) == "1"


def test_rollback_goes_back_from_a_champion_that_was_deleted(tracking, name, run):
    run("n1")
    run("n2")
    tracking.client.delete_model_version(name, "2")
    assert roll_back(tracking, name, **ANN).startswith("Version 1 is champion now; there was none")


def test_rollback_knows_champions_of_before_there_were_events(tracking, name, add):
    for number in ("1", "2", "3"):
        add()
        kept = Decision(number != "2", "Promoted: long ago.", number, "", 0.5, None, True)
        tag = ("tagsage.decision", json.dumps(kept.to_json()))
        tracking.client.set_model_version_tag(name, number, *tag)
    tracking.client.set_registered_model_alias(name, "champion", "3")
    roll_back(tracking, name, **ANN)
    assert champion(tracking, name) == "1"


@pytest.mark.parametrize("events", [False, True], ids=["before", "since there are events"])
def test_no_rollback_goes_to_a_version_whose_promotion_was_not_carried_out(
    tracking, name, run, events
):
    run("n1")
    decided(tracking, name, run, "2", "1")
    if events:
        run("n3")
        roll_back(tracking, name, **ANN)
        assert champion(tracking, name) == "1"
    else:
        (key,) = [key for key in tags_of(tracking, name) if key.startswith("tagsage.champion.")]
        tracking.client.delete_registered_model_tag(name, key)
    with pytest.raises(TagsageError, match="no champion before version 1 to go back to"):
        roll_back(tracking, name, **ANN)


def test_rollback_goes_back_from_a_champion_that_was_named_in_mlflow(tracking, name, run, add):
    run("n1")
    tracking.client.set_registered_model_alias(name, "champion", add())
    roll_back(tracking, name, **ANN)
    assert champion(tracking, name) == "1"


def test_person_promotes_with_name_time_and_reason(tracking, name, run):
    run("n1")
    run("n2", promoted=False)
    said = promote_version(tracking, name, "2", **ANN)
    assert said == "Version 2 is champion now; version 1 was it before."
    event = registered(tracking, name).events[-1]
    assert (event.action, event.version, event.before) == ("promote", "2", "1")
    assert (event.who, event.why) == ("ann", "it reads better")
    assert event.when.endswith("+00:00")
    assert promote_version(tracking, name, "2", **ANN) == "Version 2 is champion already."
    assert len(registered(tracking, name).events) == 2


def test_no_run_changes_a_pinned_champion(tracking, name, run):
    run("n1")
    pin(tracking, name, **ANN)
    words = registered(tracking, name).pinned_words()
    assert words.startswith("version 1 is pinned by ann at 2")
    assert words.endswith(": it reads better")
    # A run that decided before the pin was set.
    decision, now = run("n2")
    assert (decision.promoted, now, champion(tracking, name)) == (False, "1", "1")
    unpin(tracking, name, **ANN)
    assert registered(tracking, name).pinned_words() == ""
    assert run("n3")[1] == "3"


def test_version_that_is_pinned_becomes_champion(tracking, name, run):
    run("n1")
    run("n2")
    pin(tracking, name, "1", **ANN)
    assert champion(tracking, name) == "1"
    actions = [event.action for event in registered(tracking, name).events]
    assert actions == ["run", "run", "promote", "pin"]
    unpin(tracking, name, **ANN)
    roll_back(tracking, name, **ANN)
    assert champion(tracking, name) == "2"


def test_people_have_to_unpin_first(tracking, name, run):
    run("n1")
    run("n2")
    pin(tracking, name, **ANN)
    for change in (
        lambda: promote_version(tracking, name, "1", **ANN),
        lambda: roll_back(tracking, name, **ANN),
        lambda: pin(tracking, name, "1", **ANN),
    ):
        with pytest.raises(TagsageError, match=r"version 2 is pinned by ann .*unpin` first\."):
            change()
    assert champion(tracking, name) == "2"


def test_pinned_version_that_was_deleted_is_told(tracking, name, run):
    run("n1")
    pin(tracking, name, **ANN)
    tracking.client.delete_model_version(name, "1")
    now = registered(tracking, name)
    assert now.champion == ""
    released = ", though no longer in the registry (`tagsage model unpin` releases it)"
    assert now.pinned_words().endswith(released)
    with pytest.raises(TagsageError, match="no longer in the registry"):
        pin(tracking, name, **ANN)
    with pytest.raises(TagsageError, match="has no champion of the model"):
        load_champion(tracking, name)
    unpin(tracking, name, **ANN)
    with pytest.raises(TagsageError, match="has no champion to pin"):
        pin(tracking, name, **ANN)
    with pytest.raises(TagsageError, match="no champion before today to go back to"):
        roll_back(tracking, name, **ANN)
    with pytest.raises(TagsageError, match="is pinned; there is nothing to do"):
        unpin(tracking, name, **ANN)


@pytest.fixture
def meanwhile(tracking, tmp_path, monkeypatch):
    """Return a function that lets another machine do something just before a call of the client."""
    elsewhere = dataclasses.replace(tracking, folder=tmp_path)

    def meanwhile(method: str, act) -> None:
        original = getattr(tracking.client, method)

        def first_act(*arguments):
            monkeypatch.setattr(tracking.client, method, original)
            act(elsewhere)
            return original(*arguments)

        monkeypatch.setattr(tracking.client, method, first_act)

    return meanwhile


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda elsewhere, name: pin(elsewhere, name, **ANN), "version 1 is pinned by ann at "),
        (
            lambda elsewhere, name: promote_version(elsewhere, name, "2", **ANN),
            "now version 2 is champion (promote by ann at ",
        ),
    ],
    ids=["pinned", "promoted"],
)
def test_what_a_person_does_elsewhere_while_a_run_promotes_stands(
    tracking, name, run, meanwhile, act, words
):
    run("n1")
    run("n2", promoted=False)
    meanwhile("set_registered_model_alias", lambda elsewhere: act(elsewhere, name))
    decision, now = run("n3")
    assert not decision.promoted
    assert words in decision.reason
    assert now == champion(tracking, name) == words.partition("version ")[2][0]
    assert "3" not in registered(tracking, name).line()


def test_pin_holds_what_was_champion_although_a_run_elsewhere_promotes(
    tracking, name, run, add, meanwhile
):
    run("n1")
    decision = Decision(True, "Promoted: so it is.", add(), "1", 0.6, None, True)

    def promote(elsewhere) -> None:
        carry_out(elsewhere, "n2", name=name, version="2", decision=decision)

    meanwhile("set_registered_model_tag", promote)
    pin(tracking, name, **ANN)
    now = registered(tracking, name)
    assert (now.champion, now.pin.version) == ("1", "1")


def test_run_killed_before_it_gave_way_to_a_pin_gives_way_when_run_again(tracking, name, run):
    run("n1")
    decided(tracking, name, run, "2", "1")
    pin(tracking, name, **ANN)
    tracking.client.set_registered_model_alias(name, "champion", "2")
    decision, now = run("n2", version="2")
    assert (decision.promoted, now, champion(tracking, name)) == (False, "1", "1")


def test_person_is_told_of_a_pin_of_the_same_moment(tracking, name, run, meanwhile):
    run("n1")
    run("n2", promoted=False)
    meanwhile("set_registered_model_alias", lambda elsewhere: pin(elsewhere, name, **ANN))
    with pytest.raises(TagsageError, match="pinned the champion at the same moment"):
        promote_version(tracking, name, "2", **ANN)
    assert champion(tracking, name) == "1"


def test_events_of_two_machines_at_the_same_moment_are_both_kept_after_those_of_old_keys(
    tracking, name, run
):
    run("n1")
    (key,) = [key for key in tags_of(tracking, name) if key.startswith("tagsage.champion.")]
    tracking.client.set_registered_model_tag(
        name, "tagsage.champion.000001", tags_of(tracking, name)[key]
    )
    tracking.client.delete_registered_model_tag(name, key)
    now = registered(tracking, name)
    for who in ("ann", "bob"):
        write_event(tracking, name, now, Event.of("promote", "1", "1", who, ""))
    assert [event.who for event in registered(tracking, name).events] == ["n1", "ann", "bob"]


def test_event_comes_after_one_of_a_machine_whose_clock_is_ahead(tracking, name, run):
    run("n1")
    key = "tagsage.champion.29990101T000000.000000Z-0a1b2c3d"
    text = json.dumps(dataclasses.asdict(Event.of("promote", "1", "1", "bob", "")))
    tracking.client.set_registered_model_tag(name, key, text)
    run("n2")
    run("n3")
    assert [event.who for event in registered(tracking, name).events] == ["n1", "bob", "n2", "n3"]


@pytest.mark.parametrize("version", ["7", "x", "", "-1", "1; DROP TABLE", "9" * 60])
def test_unknown_version_is_told_in_one_sentence(tracking, name, run, version):
    run("n1")
    for change in (promote_version, pin):
        if change is pin and not version:
            continue
        with pytest.raises(TagsageError, match=r"has no version .*`tagsage model list` shows"):
            change(tracking, name, version, **ANN)
    assert champion(tracking, name) == "1"


def test_model_that_is_not_there_yet_is_told(tracking, name):
    for change in (
        lambda: registered(tracking, name),
        lambda: promote_version(tracking, name, "1", **ANN),
        lambda: roll_back(tracking, name, **ANN),
        lambda: unpin(tracking, name, **ANN),
    ):
        with pytest.raises(TagsageError, match=f"has no model '{name}' yet; run the retrain"):
            change()


def test_long_and_hostile_reasons_are_kept_as_words(tracking, name, run):
    run("n1")
    run("n2")
    hostile = "<script>alert('\"x\"')</script>\u202e\n\x1b[31m" * 100
    roll_back(tracking, name, who="ann", why=hostile)
    event = registered(tracking, name).events[-1]
    assert event.why == ("<script>alert('\"x\"')</script> [31m" * 100)[:500]


@pytest.mark.slow
def test_versions_of_a_registered_winner_are_listed_newest_first_with_their_aliases(
    tmp_path, served, frozen
):
    tracking = initialise("", experiment="runs", folder=tmp_path)
    for run_id in ("n1", "n2"):
        log_run(tracking, run_id, params={})
        log_candidate(tracking, run_id, CANDIDATE, params={}, scores={"micro_f1": 0.6})
        register_winner(
            tracking,
            run_id,
            CANDIDATE,
            name="tagger",
            served=served,
            served_ref="served-1",
            frozen=frozen,
            micro_f1=0.6,
            data_digest="sha256:a",
            description="The best of one candidate.",
        )
    promote_version(tracking, "tagger", "1", **ANN)
    listed = registered(tracking, "tagger").versions
    assert [(one.number, one.aliases, one.micro_f1) for one in listed] == [
        ("2", ("challenger",), 0.6),
        ("1", ("champion",), 0.6),
    ]

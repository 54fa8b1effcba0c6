"""The registry: one version a night, the rule of promotion, the champion in a clean process."""

import json
import subprocess
import sys
import uuid

import pytest

from tagsage.errors import TagsageError
from tagsage.tracking.registry import (
    DATA_DIGEST,
    MICRO_F1,
    TARGET_TAGS,
    decide_promotion,
    load_champion,
    promotion_rule,
    register_winner,
)
from tagsage.tracking.runs import log_candidate, log_night, parent_run

CANDIDATE = "text+lists:ovr_logistic"
CLEAN = """
import sys
from pathlib import Path
from tagsage.tracking.registry import load_champion
from tagsage.tracking.store import initialise
tracking = initialise("", experiment="tests", folder=Path(sys.argv[1]))
print(load_champion(tracking, sys.argv[2]).predict([{"title": "plums"}])["tags"].tolist())
"""


@pytest.fixture
def name() -> str:
    return f"tagger-{uuid.uuid4().hex}"


@pytest.fixture
def register(tracking, served, name):
    def register(
        run_id: str,
        micro_f1: float,
        digest: str = "sha256:a",
        *,
        served_ref: str = "served-1",
        tags_digest: str = "t",
    ) -> str:
        log_night(tracking, run_id, params={})
        log_candidate(tracking, run_id, CANDIDATE, params={}, scores={"micro_f1": micro_f1})
        return register_winner(
            tracking,
            run_id,
            CANDIDATE,
            name=name,
            served=served,
            served_ref=served_ref,
            micro_f1=micro_f1,
            data_digest=digest,
            tags_digest=tags_digest,
            description="The best of one candidate.",
        )

    return register


@pytest.fixture
def decide(tracking, name):
    def decide(run_id: str, version: str, *, margin: float = 0.0, promote: bool = True):
        return decide_promotion(
            tracking, run_id, name=name, version=version, margin=margin, promote=promote
        )

    return decide


def holder(tracking, name, alias):
    return tracking.client.get_registered_model(name).aliases.get(alias)


def test_winner_becomes_a_version_with_words_numbers_and_the_alias_challenger(
    tracking, register, name, run_id
):
    version = register(run_id, 0.61)
    found = tracking.client.get_model_version(name, version)
    assert found.description == "The best of one candidate."
    assert found.tags[MICRO_F1] == "0.61"
    assert found.tags[DATA_DIGEST] == "sha256:a"
    assert found.tags["tagsage.candidate"] == CANDIDATE
    assert str(holder(tracking, name, "challenger")) == version
    assert holder(tracking, name, "champion") is None


def test_winner_registered_again_after_a_kill_is_the_same_version(tracking, register, name, run_id):
    assert register(run_id, 0.61) == register(run_id, 0.61) == "1"
    assert len(tracking.client.search_model_versions(f"name = '{name}'")) == 1


def test_model_that_a_killed_task_left_unfinished_is_made_anew(tracking, register, name, run_id):
    from tagsage.tracking.runs import candidate_run

    child = candidate_run(tracking, run_id, CANDIDATE)
    pending = tracking.client.create_logged_model(
        tracking.experiment_id, name="tagger", source_run_id=child
    )
    register(run_id, 0.61)
    models = tracking.client.search_logged_models(
        [tracking.experiment_id], filter_string=f"source_run_id = '{child}'"
    )
    assert [str(model.status) for model in models] == ["READY"]
    assert models[0].model_id != pending.model_id


def test_first_version_becomes_champion_and_a_better_one_follows(
    tracking, register, decide, name, run_id
):
    first = decide(run_id, register(run_id, 0.6))
    assert first.promoted
    assert first.champion_version == ""
    second_id = f"{run_id}-2"
    second = decide(second_id, register(second_id, 0.7))
    assert second.promoted
    assert second.champion_version == "1"
    assert "micro-F1 0.7000 is at least the champion's 0.6000 (version 1)." in second.reason
    assert str(holder(tracking, name, "champion")) == "2"


def test_worse_version_stays_challenger(tracking, register, decide, name, run_id):
    decide(run_id, register(run_id, 0.6))
    second_id = f"{run_id}-2"
    decision = decide(second_id, register(second_id, 0.5))
    assert not decision.promoted
    assert str(holder(tracking, name, "champion")) == "1"
    assert str(holder(tracking, name, "challenger")) == "2"


def test_promotion_that_is_off_leaves_the_challenger(tracking, register, decide, name, run_id):
    decision = decide(run_id, register(run_id, 0.6), promote=False)
    assert not decision.promoted
    assert holder(tracking, name, "champion") is None


def test_decision_is_kept_on_the_version_and_on_the_night_and_repeated(
    tracking, register, decide, name, run_id
):
    decision = decide(run_id, register(run_id, 0.6))
    kept = tracking.client.get_model_version(name, "1").tags["tagsage.decision"]
    assert json.loads(kept)["reason"] == decision.reason
    tags = tracking.client.get_run(parent_run(tracking, run_id)).data.tags
    assert tags["tagsage.promotion.promoted"] == "True"
    assert tags["tagsage.promotion.reason"] == decision.reason
    assert tags["tagsage.winner"] == CANDIDATE
    # After a kill the champion is the version itself: the first decision stands.
    assert decide(run_id, "1") == decision


def test_old_night_run_again_takes_no_alias_from_a_later_one(
    tracking, register, decide, name, run_id
):
    decide(run_id, register(run_id, 0.6))
    later = f"{run_id}-2"
    decide(later, register(later, 0.7))
    decide(run_id, register(run_id, 0.6))
    assert str(holder(tracking, name, "champion")) == "2"
    assert str(holder(tracking, name, "challenger")) == "2"


def tags(micro_f1: float | None, digest: str = "a") -> dict[str, str]:
    score = {} if micro_f1 is None else {MICRO_F1: repr(micro_f1)}
    return {DATA_DIGEST: digest, **score}


@pytest.mark.parametrize(
    ("new", "old", "margin", "promoted"),
    [
        (0.6, 0.6, 0.0, True),
        (0.6, 0.6, 0.001, False),
        (0.6, 0.59, 0.01, True),
        (0.59, 0.6, 0.0, False),
        (0.59, 0.6, -0.01, True),
        (0.6, None, 0.0, False),
        (None, 0.6, 0.0, False),
    ],
)
def test_rule_asks_for_at_least_the_champions_score_plus_the_margin(new, old, margin, promoted):
    decision = promotion_rule(
        challenger_version="2",
        challenger_tags=tags(new),
        champion_version="1",
        champion_tags=tags(old),
        margin=margin,
        promote=True,
    )
    assert decision.promoted is promoted
    assert decision.same_data
    assert decision.reason.startswith("Promoted: " if promoted else "Not promoted: ")


def test_rule_says_when_the_scores_are_from_different_corpora():
    decision = promotion_rule(
        challenger_version="2",
        challenger_tags=tags(0.6, "b"),
        champion_version="1",
        champion_tags=tags(0.5, "a"),
        margin=0.0,
        promote=True,
    )
    assert decision.promoted
    assert not decision.same_data
    assert decision.reason.endswith("The two were measured on different corpora.")


def test_champion_that_is_not_there_is_told_in_one_sentence(tracking, name):
    with pytest.raises(TagsageError, match=f"has no champion of the model '{name}'; run the"):
        load_champion(tracking, name)


@pytest.mark.slow
def test_champion_loads_from_the_registry_in_a_new_process_and_tags(
    tracking, register, decide, name, run_id, tmp_path
):
    decide(run_id, register(run_id, 0.6))
    champion = load_champion(tracking, name)
    assert champion.predict([{"title": "new brakes"}])["tags"].tolist() == [["cars"]]
    done = subprocess.run(
        [sys.executable, "-c", CLEAN, str(tracking.folder), name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[['fruit']]"


def test_rule_promotes_when_the_target_tags_have_changed():
    decision = promotion_rule(
        challenger_version="2",
        challenger_tags={**tags(0.4), TARGET_TAGS: "new"},
        champion_version="1",
        champion_tags={**tags(0.9), TARGET_TAGS: "old"},
        margin=0.1,
        promote=True,
    )
    assert decision.promoted
    assert "other target tags" in decision.reason


def test_night_run_again_after_its_input_changed_gets_a_version_of_its_own(register):
    first = register("n1", 0.5)
    assert register("n1", 0.5) == first
    assert register("n1", 0.6, served_ref="served-2") != first

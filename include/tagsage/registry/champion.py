"""The champion: runs carry out their decisions; people promote, roll back and pin.

The alias ``champion`` of the registered model names it. Tags of the versions hold the rest, in
words for MLflow's pages: `tagsage.decision` is what a run decided on a version, `tagsage.previous`
the champion before it, `tagsage.replaced` who replaced it. What a person may not do raises a
`TagsageError`.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from tagsage.errors import TagsageError
from tagsage.evaluate.promotion import Decision
from tagsage.redact import redact
from tagsage.registry.runs import RUN_ID, TRIAL, log_results
from tagsage.registry.tracking import Tracking
from tagsage.registry.versions import (
    CHAMPION,
    PINNED,
    REFRESHED_FROM,
    STATES_DIGEST,
    TAGGER_REF,
    RegisteredModel,
    Version,
    create_version,
    find_version,
    registered_model,
)

logger = logging.getLogger(__name__)

DECISION = "tagsage.decision"
PREVIOUS = "tagsage.previous"
REPLACED = "tagsage.replaced"
# Longer reasons don't fit into a tag of every MLflow store.
WHY_LIMIT = 500


def decision_of(tags: Mapping[str, str]) -> Decision | None:
    """Return what a run decided on a version, by the version's tags."""
    kept = tags.get(DECISION)
    return None if kept is None else Decision(**json.loads(kept))


def kept_decision(tracking: Tracking, name: str, version: str) -> Decision | None:
    """Return the decision on a version; None when there is none yet."""
    return decision_of(registered_model(tracking, name).version(version).tags)


def last_decided(model: RegisteredModel, *, run_id: str) -> Version | None:
    """Return the newest challenger that another run decided on; trials do not count."""
    return next(
        (
            one
            for one in model.versions
            if DECISION in one.tags
            and not {TRIAL, REFRESHED_FROM} & one.tags.keys()
            and one.tags.get(RUN_ID) != run_id
        ),
        None,
    )


def carry_out(
    tracking: Tracking, run_id: str, *, name: str, version: str, decision: Decision
) -> tuple[Decision, str]:
    """Record a run's decision on its version, and carry it out; a run repeats its first decision.

    A promotion is carried out only while the champion is the one that the decision names, and only
    if the version has not been replaced as champion before: so an older run undoes nothing. Returns
    the decision (one that says so where it no longer holds) and the champion's version, empty for
    none.
    """
    with tracking.locked():
        model = registered_model(tracking, name)
        challenger = model.version(version)
        kept = decision_of(challenger.tags)
        if kept is None:
            # Before it is carried out: after a kill the new champion would be compared with itself.
            text = json.dumps(dataclasses.asdict(decision))
            tracking.client.set_model_version_tag(name, version, DECISION, text)
        decision = kept or decision
        now = model.champion.number if model.champion else ""
        if not decision.promoted or now == version:
            return decision, now
        if model.pinned or now != decision.champion_version or REPLACED in challenger.tags:
            return _overtaken(decision, model), now
        _replace(tracking, model, version, f"by the run {run_id}")
    return decision, version


def refresh(
    tracking: Tracking,
    run_id: str,
    champion: Version,
    *,
    name: str,
    tagger: Path,
    tagger_ref: str,
    states_digest: str,
) -> str:
    """Register the champion with states of another corpus, let that take its place; return who is.

    The new version has the champion's score, frozen test, decision and predecessor. It becomes
    champion only while `champion` is, and isn't pinned. Called again, a run registers nothing more.
    """
    own = {RUN_ID: run_id, TAGGER_REF: tagger_ref}
    origin = champion.origin
    kept = {key: value for key, value in champion.tags.items() if key != REPLACED}
    mlflow_run = log_results(tracking, run_id)
    with tracking.locked():
        number = find_version(tracking, name, own) or create_version(
            tracking,
            name,
            mlflow_run,
            own,
            tagger=tagger,
            tags={**kept, STATES_DIGEST: states_digest, REFRESHED_FROM: origin},
            description=f"The weights of version {origin}, which know the lists of a later run.",
            trained_by=champion.run_id,
        )
        model = registered_model(tracking, name)
        now = model.champion.number if model.champion else ""
        if now == champion.number and not model.pinned:
            # An older run that runs again must not promote it anew.
            text = f"by version {number}, which has its weights"
            tracking.client.set_model_version_tag(name, now, REPLACED, text)
            tracking.client.set_registered_model_alias(name, CHAMPION, number)
            now = number
    return now


def promote_version(tracking: Tracking, name: str, version: str, *, who: str, why: str = "") -> str:
    """Make a version champion on a person's decision; return a sentence on what was done."""
    with tracking.locked():
        model = _changeable(tracking, name)
        model.version(version)
        if model.champion and model.champion.number == version:
            return f"Version {version} is champion already."
        return _replace(tracking, model, version, _by(who, why))


def roll_back(tracking: Tracking, name: str, *, who: str, why: str = "") -> str:
    """Make the previous champion champion again; return a sentence on what was done."""
    with tracking.locked():
        model = _changeable(tracking, name)
        previous = model.champion.tags.get(PREVIOUS, "") if model.champion else ""
        if previous not in {one.number for one in model.versions}:
            now = f"version {model.champion.number}" if model.champion else "today"
            raise TagsageError(
                f"There is no champion before {now} to go back to; `tagsage model list` shows the "
                "versions, and `tagsage model promote VERSION` makes one champion."
            )
        # Its own previous champion stays: called again, this goes back one further.
        done = _replace(tracking, model, previous, _by(who, why), back=True)
        if model.champion:
            tracking.client.delete_model_version_tag(name, model.champion.number, PREVIOUS)
        return done


def pin(
    tracking: Tracking, name: str, version: str | None = None, *, who: str, why: str = ""
) -> str:
    """Pin the champion, or a version that becomes it: no run changes it until it is unpinned."""
    with tracking.locked():
        model = _changeable(tracking, name)
        now = model.champion.number if model.champion else ""
        number = version or now
        if not number:
            msg = (
                f"The model {name!r} has no champion to pin; name a version of "
                "`tagsage model list`."
            )
            raise TagsageError(msg)
        model.version(number)
        if number != now:
            _replace(tracking, model, number, _by(who, why))
        tracking.client.set_registered_model_tag(name, PINNED, _by(who, why))
    return f"Version {number} is champion and pinned: runs leave it until `tagsage model unpin`."


def unpin(tracking: Tracking, name: str) -> str:
    """Let runs change the champion again."""
    with tracking.locked():
        if not registered_model(tracking, name).pinned:
            msg = f"The champion of the model {name!r} is not pinned; there is nothing to do."
            raise TagsageError(msg)
        tracking.client.delete_registered_model_tag(name, PINNED)
    return "The champion is no longer pinned: runs may change it again."


def pinned_sentence(model: RegisteredModel) -> str:
    """Say who pinned the champion; empty when nobody did."""
    if not model.pinned:
        return ""
    what = f"version {model.champion.number}" if model.champion else "the champion, since deleted,"
    return f"{what} is pinned {model.pinned}"


def existing_model(tracking: Tracking, name: str) -> RegisteredModel:
    """Return the registered model; an error when no run has registered a version yet."""
    model = registered_model(tracking, name)
    if not model.versions:
        raise TagsageError(
            f"The registry at {redact(tracking.uri)} has no model {name!r} yet; run the retrain "
            "first, or check the settings registered_model and mlflow_tracking_uri."
        )
    return model


def _changeable(tracking: Tracking, name: str) -> RegisteredModel:
    model = existing_model(tracking, name)
    if model.pinned:
        msg = f"Nothing was changed: {pinned_sentence(model)}; run `tagsage model unpin` first."
        raise TagsageError(msg)
    return model


def _replace(
    tracking: Tracking, model: RegisteredModel, version: str, by: str, *, back: bool = False
) -> str:
    """Move the alias after writing the tags: a killed process may stop after any step."""
    old, client = model.champion, tracking.client
    if old is not None:
        text = f"by version {version}, {by}"
        client.set_model_version_tag(model.name, old.number, REPLACED, text)
        if not back:
            client.set_model_version_tag(model.name, version, PREVIOUS, old.number)
    client.set_registered_model_alias(model.name, CHAMPION, version)
    was = f"version {old.number} was it before" if old else "there was none before"
    return f"Version {version} is champion now; {was}."


def _overtaken(decision: Decision, model: RegisteredModel) -> Decision:
    champion = model.champion
    why = pinned_sentence(model) or (
        f"now version {champion.number} is champion" if champion else "there is no champion"
    )
    replaced = model.version(decision.challenger_version).tags.get(REPLACED)
    if replaced:
        why += f", and version {decision.challenger_version} was replaced {replaced}"
    reason = (
        f"Not promoted again: since version {decision.challenger_version} was chosen, the champion "
        f"was changed: {why}."
    )
    logger.warning("%s", reason)
    return dataclasses.replace(decision, promoted=False, reason=reason)


def _by(who: str, why: str) -> str:
    """Return who does something, when and why, in words that fit into a tag."""
    text = f"by {who} at {datetime.now(UTC).isoformat(timespec='seconds')}"
    text += f": {why}" if why else ""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(printable.split())[:WHY_LIMIT]

"""Who is champion: what runs decided is carried out, and people promote, roll back and pin.

What a run decided is kept on its version before it is carried out. So a run that is run again
repeats its decision, and does not undo what a person has done since.
"""

from __future__ import annotations

import dataclasses
import json
import logging

from tagsage.errors import TagsageError
from tagsage.evaluate.promotion import Decision
from tagsage.registry.history import (
    DECISION,
    PIN,
    PINNED,
    PROMOTE,
    ROLLBACK,
    RUN,
    UNPIN,
    Event,
    Registered,
    decision_of,
    event_text,
    find_version,
    make_champion,
    move_champion,
    read_model,
    write_event,
)
from tagsage.registry.store import Tracking

logger = logging.getLogger(__name__)


def kept_decision(tracking: Tracking, name: str, version: str) -> Decision | None:
    """Return what was decided of a version, or None."""
    with tracking.alone():
        return decision_of(find_version(tracking, name, version).tags)


def carry_out(
    tracking: Tracking, run_id: str, *, name: str, version: str, decision: Decision
) -> tuple[Decision, str]:
    """Keep a run's decision on its version, and make it so.

    A decision that was kept before is repeated instead of `decision`. It is not carried out where
    somebody has done something to the champion since: another run, or a person.

    Parameters
    ----------
    tracking : Tracking
        The store.
    run_id : str
        tagsage's name of the run.
    name : str
        Name of the registered model.
    version : str
        The challenger's version.
    decision : Decision
        What was decided.

    Returns
    -------
    decision : Decision
        The decision; one that says so where it no longer holds.
    champion : str
        The version that is champion now; empty for none.
    """
    with tracking.alone():
        challenger = find_version(tracking, name, version)
        kept = decision_of(challenger.tags)
        if kept is None:
            # Kept before it is carried out: a rerun after a kill must not compare the new champion
            # with itself.
            text = json.dumps(decision.to_json())
            tracking.client.set_model_version_tag(name, version, DECISION, text)
        decision = kept or decision
        now = read_model(tracking, name)
        if not decision.promoted:
            return decision, now.champion
        # A task killed after it moved the alias wrote no event, but who went back from there did.
        made = any(version in {event.version, event.before} for event in now.events)
        if now.champion != version and (
            made or now.pin is not None or now.champion != decision.champion_version
        ):
            return _overtaken(decision, now), now.champion
        if not made:
            now = move_champion(tracking, name, now, version)
            if now.champion != version:
                return _overtaken(decision, now), now.champion
            event = Event.of(RUN, version, decision.champion_version, run_id, decision.reason)
            write_event(tracking, name, now, event)
    return decision, version


def promote_version(tracking: Tracking, name: str, version: str, *, who: str, why: str = "") -> str:
    """Make a version champion because a person says so.

    Returns
    -------
    str
        A sentence that says what was done.

    Raises
    ------
    TagsageError
        When there is no such version, or a champion is pinned.
    """
    with tracking.alone():
        find_version(tracking, name, version)
        now = _unpinned(tracking, name)
        if now.champion == version:
            return f"Version {version} is champion already."
        make_champion(tracking, name, now, Event.of(PROMOTE, version, now.champion, who, why))
    return _changed(version, now.champion)


def roll_back(tracking: Tracking, name: str, *, who: str, why: str = "") -> str:
    """Make the champion before champion again; called again, the one before that.

    Returns
    -------
    str
        A sentence that says what was done.

    Raises
    ------
    TagsageError
        When there is none to go back to, or a champion is pinned.
    """
    with tracking.alone():
        now = _unpinned(tracking, name)
        there = {version.number for version in now.versions}
        earlier = [number for number in now.line() if number in there and number != now.champion]
        if not earlier:
            of = f"version {now.champion}" if now.champion else "today"
            msg = (
                f"There is no champion before {of} to go back to; `tagsage model list` shows the "
                "versions, and `tagsage model promote VERSION` makes one champion."
            )
            raise TagsageError(msg)
        event = Event.of(ROLLBACK, earlier[-1], now.champion, who, why)
        make_champion(tracking, name, now, event)
    return _changed(event.version, now.champion)


def pin(
    tracking: Tracking, name: str, version: str | None = None, *, who: str, why: str = ""
) -> str:
    """Pin the champion, or a version that becomes it: no run changes it until it is unpinned.

    Returns
    -------
    str
        A sentence that says what was done.

    Raises
    ------
    TagsageError
        When there is no such version or no champion, or one is pinned already.
    """
    with tracking.alone():
        now = _unpinned(tracking, name)
        number = version or now.champion
        if not number:
            msg = (
                f"The model {name!r} has no champion to pin; name a version of "
                "`tagsage model list`."
            )
            raise TagsageError(msg)
        find_version(tracking, name, number)
        event = Event.of(PIN, number, now.champion, who, why)
        # Pinned first, and then looked at again: no run may come in between.
        tracking.client.set_registered_model_tag(name, PINNED, event_text(event))
        now = read_model(tracking, name)
        if now.champion != number:
            made = Event.of(PROMOTE, number, now.champion, who, why)
            now = make_champion(tracking, name, now, made)
        write_event(tracking, name, now, event)
    return f"Version {number} is champion and pinned: runs leave it until `tagsage model unpin`."


def unpin(tracking: Tracking, name: str, *, who: str, why: str = "") -> str:
    """Let runs change the champion again.

    Returns
    -------
    str
        A sentence that says what was done.

    Raises
    ------
    TagsageError
        When nothing is pinned.
    """
    with tracking.alone():
        now = read_model(tracking, name)
        if now.pin is None:
            raise TagsageError(
                f"No version of the model {name!r} is pinned; there is nothing to do."
            )
        tracking.client.delete_registered_model_tag(name, PINNED)
        write_event(tracking, name, now, Event.of(UNPIN, now.champion, now.champion, who, why))
    return f"Version {now.pin.version} is no longer pinned: runs may change the champion again."


def _unpinned(tracking: Tracking, name: str) -> Registered:
    now = read_model(tracking, name)
    if now.pin is not None:
        msg = f"Nothing was changed: {now.pinned_words()}; run `tagsage model unpin` first."
        raise TagsageError(msg)
    return now


def _overtaken(decision: Decision, now: Registered) -> Decision:
    last = now.events[-1] if now.events else None
    present = f"version {now.champion} is champion" if now.champion else "there is no champion"
    why = f" ({last.action} {last.words()})" if last else ""
    if now.pin is not None:
        why = f" ({now.pinned_words()})"
    reason = (
        f"Not promoted again: since version {decision.challenger_version} was chosen, the champion "
        f"was changed: now {present}{why}."
    )
    logger.warning("%s", reason)
    return dataclasses.replace(decision, promoted=False, reason=reason)


def _changed(version: str, before: str) -> str:
    was = f"version {before} was it before" if before else "there was none before"
    return f"Version {version} is champion now; {was}."

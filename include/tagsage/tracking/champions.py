"""Who is champion, who made it so, and why: nights and people, written down in the registry.

Every change of the champion is an *event*, a tag of the registered model, numbered in order. What
a night decided is kept on its version before it is carried out. So a night that is run again
repeats its decision, and does not undo what a person has done since.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from tagsage.errors import TagsageError
from tagsage.learn.promotion import Decision
from tagsage.tracking.registry import CHAMPION, Version
from tagsage.tracking.store import Tracking

logger = logging.getLogger(__name__)

DECISION = "tagsage.decision"
EVENT = "tagsage.champion."
PINNED = "tagsage.pinned"
NIGHT, PROMOTE, ROLLBACK, PIN, UNPIN = "night", "promote", "rollback", "pin", "unpin"
# Longer words would not fit into a tag of every MLflow store.
WHY_LIMIT = 500


@dataclass(frozen=True)
class Event:
    """Something that was done to the champion.

    Attributes
    ----------
    action : str
        ``night``, ``promote``, ``rollback``, ``pin`` or ``unpin``.
    version, before : str
        The champion after it and before it; empty for none.
    who : str
        The night's run id, or the name of the person.
    when : str
        In UTC, ISO 8601.
    why : str
        The reason given.
    """

    action: str
    version: str
    before: str
    who: str
    when: str
    why: str = ""

    @classmethod
    def of(cls, action: str, version: str, before: str, who: str, why: str) -> Self:
        """Return an event of now."""
        when = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(action, version, before, _plain(who), when, _plain(why))

    def words(self) -> str:
        """Return who did it, when and why."""
        return f"by {self.who} at {self.when}" + (f": {self.why}" if self.why else "")


@dataclass(frozen=True)
class Registered:
    """The registered model as it is.

    Attributes
    ----------
    versions : tuple of Version
        The versions, newest first.
    champion : str
        The version that is champion; empty for none.
    pin : Event or None
        Who pinned the champion; None when nobody did.
    events : tuple of Event
        What was done to the champion, oldest first.
    """

    versions: tuple[Version, ...]
    champion: str
    pin: Event | None
    events: tuple[Event, ...]

    def pinned_words(self) -> str:
        """Say that the champion is pinned; empty when it is not."""
        if self.pin is None:
            return ""
        words = f"version {self.pin.version} is pinned {self.pin.words()}"
        if self.pin.version not in {version.number for version in self.versions}:
            words += "; but it is no longer in the registry, so run `tagsage model unpin`"
        return words

    def line(self) -> list[str]:
        """Return the champions that one can go back to, the present one last.

        Promotions put a champion on the line, rollbacks take some off. Champions of nights before
        there were events come from those nights' decisions; one that was named by other means, such
        as MLflow's own page, is put on the line when it is met.
        """
        told = {event.version for event in self.events}
        line = [
            version.number
            for version in reversed(self.versions)
            if version.number not in told and was_promoted(version)
        ]
        for event in self.events:
            if event.action in {NIGHT, PROMOTE}:
                _put(line, event.before)
                _put(line, event.version)
            elif event.action == ROLLBACK:
                while line and line[-1] != event.version:
                    line.pop()
                _put(line, event.version)
        _put(line, self.champion)
        return line


def was_promoted(version: Version) -> bool:
    """Tell whether a night made a version champion when it was registered."""
    kept = version.tags.get(DECISION)
    return kept is not None and Decision.from_json(json.loads(kept)).promoted


def registered(tracking: Tracking, name: str) -> Registered:
    """Return versions, champion, pin and events of a registered model.

    Raises
    ------
    TagsageError
        When there is no such model, or MLflow does not answer.
    """
    with tracking.alone():
        return _registered(tracking, name)


def kept_decision(tracking: Tracking, name: str, version: str) -> Decision | None:
    """Return what was decided of a version, or None."""
    with tracking.alone():
        return _kept(_version(tracking, name, version))


def carry_out(
    tracking: Tracking, run_id: str, *, name: str, version: str, decision: Decision
) -> tuple[Decision, str]:
    """Keep a night's decision on its version, and make it so.

    A decision that was kept before is repeated instead of `decision`. It is not carried out where
    somebody has done something to the champion since: another night, or a person.

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
        challenger = _version(tracking, name, version)
        kept = _kept(challenger)
        if kept is None:
            # Kept before it is carried out: a rerun after a kill must not compare the new champion
            # with itself.
            text = json.dumps(decision.to_json())
            tracking.client.set_model_version_tag(name, version, DECISION, text)
        decision = kept or decision
        now = _registered(tracking, name)
        if not decision.promoted:
            return decision, now.champion
        made = any(event.action == NIGHT and event.version == version for event in now.events)
        event = Event.of(NIGHT, version, decision.champion_version, run_id, decision.reason)
        if now.champion == version:
            if not made:
                _write(tracking, name, now, event)
            return decision, version
        if made or now.pin is not None or now.champion != decision.champion_version:
            return _overtaken(decision, now), now.champion
        _make_champion(tracking, name, now, event)
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
        _version(tracking, name, version)
        now = _unpinned(tracking, name)
        if now.champion == version:
            return f"Version {version} is champion already."
        _make_champion(tracking, name, now, Event.of(PROMOTE, version, now.champion, who, why))
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
        _make_champion(tracking, name, now, event)
    return _changed(event.version, now.champion)


def pin(
    tracking: Tracking, name: str, version: str | None = None, *, who: str, why: str = ""
) -> str:
    """Pin the champion, or a version that becomes it: no night changes it until it is unpinned.

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
        _version(tracking, name, number)
        event = Event.of(PIN, number, now.champion, who, why)
        # Pinned first: no night may come in between.
        tracking.client.set_registered_model_tag(name, PINNED, _text(event))
        if now.champion != number:
            made = Event.of(PROMOTE, number, now.champion, who, why)
            now = _make_champion(tracking, name, now, made)
        _write(tracking, name, now, event)
    return f"Version {number} is champion and pinned: nights leave it until `tagsage model unpin`."


def unpin(tracking: Tracking, name: str, *, who: str, why: str = "") -> str:
    """Let nights change the champion again.

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
        now = _registered(tracking, name)
        if now.pin is None:
            raise TagsageError(
                f"No version of the model {name!r} is pinned; there is nothing to do."
            )
        tracking.client.delete_registered_model_tag(name, PINNED)
        _write(tracking, name, now, Event.of(UNPIN, now.champion, now.champion, who, why))
    return f"Version {now.pin.version} is no longer pinned: nights may change the champion again."


def _plain(text: str) -> str:
    """Return words that fit into a tag and do nothing to a terminal."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(printable.split())[:WHY_LIMIT]


def _registered(tracking: Tracking, name: str) -> Registered:
    model = _model(tracking, name)
    found = tracking.client.search_model_versions(f"name = {_quoted(name)}")
    versions = sorted(
        (Version.of(version, model.aliases) for version in found),
        key=lambda version: -int(version.number),
    )
    keys = sorted(key for key in model.tags if key.startswith(EVENT))
    pinned = model.tags.get(PINNED)
    return Registered(
        versions=tuple(versions),
        champion=str(model.aliases.get(CHAMPION, "")),
        pin=Event(**json.loads(pinned)) if pinned else None,
        events=tuple(Event(**json.loads(model.tags[key])) for key in keys),
    )


def _unpinned(tracking: Tracking, name: str) -> Registered:
    now = _registered(tracking, name)
    if now.pin is not None:
        msg = f"Nothing was changed: {now.pinned_words()}; run `tagsage model unpin` first."
        raise TagsageError(msg)
    return now


def _model(tracking: Tracking, name: str) -> RegisteredModel:
    try:
        return tracking.client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        msg = (
            f"The registry at {tracking.shown_uri} has no model {name!r} yet; run the retrain "
            "first, or check the settings registered_model and mlflow_tracking_uri."
        )
        raise TagsageError(msg) from None


def _version(tracking: Tracking, name: str, version: str) -> ModelVersion:
    _model(tracking, name)
    found = None
    # A number that is too long is an error of the database.
    if re.fullmatch(r"[1-9][0-9]{0,8}", version):
        try:
            found = tracking.client.get_model_version(name, version)
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise
    if found is None:
        msg = (
            f"The model {name!r} has no version {version[:40]!r}; `tagsage model list` shows "
            "those that it has."
        )
        raise TagsageError(msg)
    return found


def _kept(version: ModelVersion) -> Decision | None:
    kept = version.tags.get(DECISION)
    return None if kept is None else Decision.from_json(json.loads(kept))


def _make_champion(tracking: Tracking, name: str, now: Registered, event: Event) -> Registered:
    """Move the alias, then write it down: an event that is written was carried out."""
    tracking.client.set_registered_model_alias(name, CHAMPION, event.version)
    return _write(tracking, name, now, event)


def _write(tracking: Tracking, name: str, now: Registered, event: Event) -> Registered:
    key = f"{EVENT}{len(now.events) + 1:06d}"
    tracking.client.set_registered_model_tag(name, key, _text(event))
    return dataclasses.replace(now, champion=event.version, events=(*now.events, event))


def _text(event: Event) -> str:
    return json.dumps(dataclasses.asdict(event))


def _overtaken(decision: Decision, now: Registered) -> Decision:
    last = now.events[-1] if now.events else None
    present = f"version {now.champion} is champion" if now.champion else "there is no champion"
    why = f" ({last.action} {last.words()})" if last else ""
    reason = (
        f"Not promoted again: since version {decision.challenger_version} was chosen, the champion "
        f"was changed: now {present}{why}."
    )
    logger.warning("%s", reason)
    return dataclasses.replace(decision, promoted=False, reason=reason)


def _changed(version: str, before: str) -> str:
    was = f"version {before} was it before" if before else "there was none before"
    return f"Version {version} is champion now; {was}."


def _put(line: list[str], number: str) -> None:
    if number and (not line or line[-1] != number):
        line.append(number)


def _quoted(name: str) -> str:
    quote = '"' if "'" in name else "'"
    return f"{quote}{name}{quote}"

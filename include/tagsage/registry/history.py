"""What was done to the champion: events, kept as tags of the registered model, and its versions.

An event is written after it was carried out, under a key of its own that begins with the time. So
the champions of before are known, and who made them so, when and why.

``tracking.alone()`` keeps processes of one machine apart. What two machines do at the same moment
is told from what is there after the alias was moved; see :func:`move_champion`.
"""

from __future__ import annotations

import dataclasses
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from tagsage.errors import TagsageError
from tagsage.evaluate.promotion import Decision
from tagsage.registry.registry import CHAMPION, WINNER, Version
from tagsage.registry.store import Tracking

DECISION = "tagsage.decision"
EVENT = "tagsage.champion."
KEY_TIME = "%Y%m%dT%H%M%S.%fZ"
PINNED = "tagsage.pinned"
RUN, PROMOTE, ROLLBACK, PIN, UNPIN = "run", "promote", "rollback", "pin", "unpin"
# Longer words would not fit into a tag of every MLflow store.
WHY_LIMIT = 500


@dataclass(frozen=True)
class Event:
    """Something that was done to the champion.

    Attributes
    ----------
    action : str
        ``run``, ``promote``, ``rollback``, ``pin`` or ``unpin``.
    version, before : str
        The champion after it and before it; empty for none.
    who : str
        The run's run id, or the name of the person.
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
    latest : datetime or None
        The time in the key of the last event; None when there is none, or its key is a number.
    """

    versions: tuple[Version, ...]
    champion: str
    pin: Event | None
    events: tuple[Event, ...]
    latest: datetime | None = None

    def pinned_words(self) -> str:
        """Say that the champion is pinned; empty when it is not."""
        if self.pin is None:
            return ""
        words = f"version {self.pin.version} is pinned {self.pin.words()}"
        if self.pin.version not in {version.number for version in self.versions}:
            words += ", though no longer in the registry (`tagsage model unpin` releases it)"
        return words

    def line(self) -> list[str]:
        """Return the champions that one can go back to, the present one last.

        Promotions put a champion on the line, rollbacks take some off. Champions of runs before
        there were events come from those runs' decisions; one that was named by other means, such
        as MLflow's own page, is put on the line when it is met.
        """
        # A decision is no proof, since others may come before it is carried out: no version that
        # came after the last champion without an event is taken from decisions.
        last = self.events[0].before if self.events else self.champion
        line = [
            version.number
            for version in reversed(self.versions)
            if last and int(version.number) <= int(last) and was_promoted(version)
        ]
        for event in self.events:
            if event.action in {RUN, PROMOTE}:
                _put(line, event.before)
                _put(line, event.version)
            elif event.action == ROLLBACK:
                while line and line[-1] != event.version:
                    line.pop()
                _put(line, event.version)
        _put(line, self.champion)
        return line


def decision_of(tags: Mapping[str, str]) -> Decision | None:
    """Return what a run decided of a version, by the version's tags; None when none has."""
    kept = tags.get(DECISION)
    return None if kept is None else Decision.from_json(json.loads(kept))


def was_promoted(version: Version) -> bool:
    """Tell whether a run decided to make a version champion."""
    decision = decision_of(version.tags)
    return decision is not None and decision.promoted


def registered(tracking: Tracking, name: str) -> Registered:
    """Return versions, champion, pin and events of a registered model.

    Raises
    ------
    TagsageError
        When there is no such model, or MLflow does not answer.
    """
    with tracking.alone():
        return read_model(tracking, name)


def read_model(tracking: Tracking, name: str) -> Registered:
    """Do what :func:`registered` does, within ``tracking.alone()`` as all that follows."""
    model = _model(tracking, name)
    found = tracking.client.search_model_versions(f"name = {_quoted(name)}")
    versions = sorted(
        (Version.of(version, model.aliases) for version in found),
        key=lambda version: -int(version.number),
    )
    # Keys were numbers of six digits once, which come before the times of today.
    keys = sorted(key for key in model.tags if key.startswith(EVENT))
    pinned = model.tags.get(PINNED)
    return Registered(
        versions=tuple(versions),
        champion=str(model.aliases.get(CHAMPION, "")),
        pin=Event(**json.loads(pinned)) if pinned else None,
        events=tuple(Event(**json.loads(model.tags[key])) for key in keys),
        latest=_time_of(keys[-1]) if keys else None,
    )


def find_version(tracking: Tracking, name: str, version: str) -> ModelVersion:
    """Return a version of a model.

    Raises
    ------
    TagsageError
        When there is no such model, or no such version.
    """
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


def candidate_of(tracking: Tracking, name: str, version: str) -> str:
    """Return the candidate that a version was; empty when there is no version."""
    if not version:
        return ""
    with tracking.alone():
        return find_version(tracking, name, version).tags.get(WINNER, "")


def make_champion(tracking: Tracking, name: str, now: Registered, event: Event) -> Registered:
    """Move the alias, then write it down: an event that is written was carried out.

    Raises
    ------
    TagsageError
        When somebody pinned or changed the champion at the same moment; that stands.
    """
    after = move_champion(tracking, name, now, event.version)
    if after.champion != event.version:
        msg = (
            "Nothing was changed: somebody changed or pinned the champion at the same moment; see "
            "`tagsage model list`, and try again if it is still wanted."
        )
        raise TagsageError(msg)
    return write_event(tracking, name, after, event)


def move_champion(tracking: Tracking, name: str, now: Registered, version: str) -> Registered:
    """Move the alias, unless it is there, and put it back where others came in between.

    Another machine may pin a version, or change the champion, after `now` was read. Who pins writes
    the pin before looking at the alias, and here the alias is moved before looking for a pin: so
    one of the two sees the other.

    Returns
    -------
    Registered
        The model as it is then; its champion is not `version` where something else stands.
    """
    after = now
    if now.champion != version:
        tracking.client.set_registered_model_alias(name, CHAMPION, version)
        after = read_model(tracking, name)
    stands = after.champion
    if after.pin is not None:
        stands = after.pin.version
    elif stands == version and len(after.events) > len(now.events):
        stands = after.events[-1].version
    if stands != after.champion and stands in {one.number for one in after.versions}:
        tracking.client.set_registered_model_alias(name, CHAMPION, stands)
        after = dataclasses.replace(after, champion=stands)
    return after


def write_event(tracking: Tracking, name: str, now: Registered, event: Event) -> Registered:
    """Write an event down; returns the model as it is then."""
    when = datetime.now(UTC)
    if now.latest is not None:
        # Written by a machine whose clock is ahead.
        when = max(when, now.latest + timedelta(microseconds=1))
    key = f"{EVENT}{when:{KEY_TIME}}-{uuid.uuid4().hex[:8]}"
    tracking.client.set_registered_model_tag(name, key, event_text(event))
    return dataclasses.replace(
        now, champion=event.version, events=(*now.events, event), latest=when
    )


def event_text(event: Event) -> str:
    """Return an event as a tag takes it."""
    return json.dumps(dataclasses.asdict(event))


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


def _time_of(key: str) -> datetime | None:
    """Return the time in the key of an event, or None."""
    try:
        when = datetime.strptime(key.removeprefix(EVENT).partition("-")[0], KEY_TIME)
    except ValueError:
        return None
    return when.replace(tzinfo=UTC)


def _plain(text: str) -> str:
    """Return words that fit into a tag and do nothing to a terminal."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(printable.split())[:WHY_LIMIT]


def _put(line: list[str], number: str) -> None:
    if number and (not line or line[-1] != number):
        line.append(number)


def _quoted(name: str) -> str:
    quote = '"' if "'" in name else "'"
    return f"{quote}{name}{quote}"

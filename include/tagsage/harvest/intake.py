"""Answers taken in: one call is one transaction, so a kill leaves all of an answer or nothing.

The raw page is kept, what it tells is merged, what follows from it is queued, and its request is
ended together. Taking the same answer in twice changes nothing the second time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tagsage.harvest import articles, frontier, library, lists, pages, problems
from tagsage.harvest.merging import (
    Reading,
    Taken,
    Told,
    asked_key,
    merge,
    note_closed,
    parse,
    unite_as,
)
from tagsage.harvest.pages import Fetched

if TYPE_CHECKING:
    from tagsage.harvest.config import HarvestConfig
    from tagsage.harvest.database import HarvestDatabase
    from tagsage.harvest.frontier import Claimed

__all__ = ["Fetched", "Taken", "given_up", "gone", "same_as", "take", "unchanged"]


def take(
    db: HarvestDatabase, request: Claimed, fetched: Fetched, config: HarvestConfig, run_id: int
) -> Taken:
    """Take in the answer to a request.

    Parameters
    ----------
    db : HarvestDatabase
        The harvest.
    request : Claimed
        What was asked for: a list, a part of one, an article or a feed.
    fetched : Fetched
        The answer, status 200.
    config : HarvestConfig
        What may be queued.
    run_id : int
        Who files the problems.

    Returns
    -------
    Taken
        A page of which a part cannot be read, and that came in the same way before, is ok: its
        request has ended as unreadable. Unless it is ok, the request is as it was: it is for the
        caller to let it wait again, or to end it and call :func:`given_up`, best within the same
        transaction.
    """
    page = parse(request, fetched)
    reading = Reading(db, config, run_id, request, fetched.url, fetched.at)
    with db.transaction():
        is_known = pages.came_before(db, request, fetched)
        pages.keep(db, request, fetched)
        told = merge(reading, page, fetched)
        if told.changed:
            library.bump(db)
        if told.is_damaged and is_known and pages.is_whole(request.kind, fetched.body):
            # It is so at the host: asked for again, it would come in the same way.
            taken = replace(told.taken, ok=True)
            told = replace(told, taken=taken, state="unreadable")
        if not told.taken.ok:
            return told.taken
        frontier.end(
            db,
            request.request_id,
            told.state,
            fetched.at,
            status=fetched.status,
            reason=told.taken.reason,
            etag=fetched.etag,
            last_modified=fetched.last_modified,
        )
        return _ended(reading, told)


def gone(
    db: HarvestDatabase,
    request: Claimed,
    now: float,
    run_id: int,
    reason: str,
    config: HarvestConfig,
) -> Taken:
    """End a request whose page is not there (404, 410); what was known by it stays.

    That a list or a feed is gone is a problem, for somebody asked for it; articles come and go.
    """
    reading = Reading(db, config, run_id, request, request.url, now)
    with db.transaction():
        frontier.end(db, request.request_id, "gone", now, reason=reason)
        problems.solve(db, problems.subject(request), now)
        if request.kind != "article":
            problems.record(db, run_id, now, problems.subject(request), [reason])
        if request.kind == "list":
            list_key = _list_of(reading)
            if list_key is not None:
                return note_closed(reading, list_key, "gone", reason)
        elif request.kind == "article" and (key := asked_key(db, request)) is not None:
            articles.mark_gone(db, key)
        return Taken()


def given_up(
    db: HarvestDatabase,
    request: Claimed,
    now: float,
    run_id: int,
    reason: str,
    config: HarvestConfig,
) -> Taken:
    """Draw the consequences of a request that was ended without an answer that can be read.

    Parameters
    ----------
    db : HarvestDatabase
        The harvest.
    request : Claimed
        The request, ended already.
    now : float
        Seconds since 1970.
    run_id : int
        Who files the problem.
    reason : str
        Why it was given up.
    config : HarvestConfig
        What may be queued when a list's reading ends by it.
    """
    reading = Reading(db, config, run_id, request, request.url, now)
    with db.transaction():
        problems.record(db, run_id, now, problems.subject(request), [reason])
        return _ended(reading, Told(list_key=_list_of(reading)))


def same_as(
    db: HarvestDatabase,
    request: Claimed,
    other_id: int,
    now: float,
    run_id: int,
    config: HarvestConfig,
) -> Taken:
    """Draw the consequences of a request that was led to where another one leads.

    The reading of a list may have ended with it. Two articles become one as they do when a page
    says so, provided that the other's address has a post's id or was read: an address where
    everything that is gone leads to is no article.

    Parameters
    ----------
    db : HarvestDatabase
        The harvest.
    request : Claimed
        The request, ended already.
    other_id : int
        The one that has the address.
    now : float
        Seconds since 1970.
    run_id : int
        Who files the problems.
    config : HarvestConfig
        What may be queued.
    """
    other = frontier.get(db, other_id)
    reading = Reading(db, config, run_id, request, other.url, now)
    with db.transaction():
        problems.solve(db, problems.subject(request), now)
        if request.kind == "article":
            if unite_as(reading, other):
                library.bump(db)
            return Taken()
        list_key = _list_of(reading)
        if request.kind == "list" and other.round < request.round and other.list_key == list_key:
            # The reading that this one began goes on there.
            frontier.read_anew(db, other_id)
            return Taken()
        return _ended(reading, Told(list_key=list_key))


def unchanged(db: HarvestDatabase, request: Claimed, now: float) -> None:
    """End a request that was answered with "not modified" (304): what is known was read now."""
    with db.transaction():
        frontier.end(db, request.request_id, "done", now, status=304)
        problems.solve(db, problems.subject(request), now)
        if request.kind == "list":
            db.execute(
                "UPDATE lists SET read_at = ?, settled = max(settled, ?) WHERE key = ?",
                (now, request.round, request.list_key),
            )
        elif request.kind == "article" and (key := asked_key(db, request)) is not None:
            articles.mark_read(db, key, now)


def _list_of(reading: Reading) -> str | None:
    """Return the list that a request is of: its page may have told another id than its address."""
    row = reading.db.execute(
        "SELECT list_key FROM requests WHERE id = ?", (reading.request.request_id,)
    ).fetchone()
    return None if row is None else row[0]


def _ended(reading: Reading, told: Told) -> Taken:
    """Draw the consequences of a request's end: its list's reading may have ended with it."""
    db, request = reading.db, reading.request
    taken, keys = told.taken, told.keys
    if told.list_key is not None and not lists.is_under_way(db, told.list_key, request.round):
        settled = end_reading(db, told.list_key, request.round, reading.at, reading.run_id)
        if settled is not None:
            taken = replace(taken, memberships=settled.memberships, lists=settled.lists)
            keys = lists.members(db, told.list_key)
    asked = library.ask_for_articles(db, keys, reading.config, reading.at, reading.run_id)
    return replace(taken, found=taken.found + asked)


def end_reading(
    db: HarvestDatabase,
    list_key: str,
    round: int,  # ruff: ignore[builtin-argument-shadowing]
    at: float,
    run_id: int,
) -> lists.Settled | None:
    """End a list's reading as :func:`tagsage.harvest.lists.settle`; file why it is incomplete."""
    settled = lists.settle(db, list_key, round, at)
    if settled is not None and settled.changed:
        library.bump(db)
    if settled is not None and settled.reason:
        problems.record(db, run_id, at, settled.url, [f"the list is incomplete: {settled.reason}"])
    return settled

"""What one page tells, parsed and merged into the library; its request is not ended here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from tagsage.corpus.keys import parse_address
from tagsage.harvest import articles, frontier, library, lists, problems
from tagsage.harvest.addresses import origin
from tagsage.harvest.article_page import parse_article_page
from tagsage.harvest.feed import parse_feed
from tagsage.harvest.list_page import FIRST_CURSOR, parse_list_answer, parse_list_page
from tagsage.harvest.page_values import host
from tagsage.harvest.records import ArticlePage, Feed, ListPage, PageError

if TYPE_CHECKING:
    from tagsage.harvest.config import HarvestConfig
    from tagsage.harvest.database import HarvestDatabase
    from tagsage.harvest.frontier import Claimed
    from tagsage.harvest.pages import Fetched

Page = ListPage | ArticlePage | Feed


@dataclass(frozen=True)
class Taken:
    """What an answer brought.

    Attributes
    ----------
    ok : bool
        False: it, or part of it, cannot be read; the request has not been ended.
    reason : str
        Why not; or what else is wrong.
    new_articles : int
        Articles that were not known.
    found : int
        Requests that were added.
    memberships, lists : int
        How many more (or fewer) of each there are in the harvest.
    """

    ok: bool = True
    reason: str = ""
    new_articles: int = 0
    found: int = 0
    memberships: int = 0
    lists: int = 0


@dataclass(frozen=True)
class Reading:
    """What a page is read with.

    Attributes
    ----------
    db : HarvestDatabase
        The harvest; within a transaction.
    config : HarvestConfig
        What may be queued.
    run_id : int
        Who files the problems.
    request : Claimed
        What was asked for.
    url : str
        Where the answer was.
    at : float
        When it came, in seconds since 1970.
    asks : bool
        Whether the parts that follow in a list are queued.
    """

    db: HarvestDatabase
    config: HarvestConfig
    run_id: int
    request: Claimed
    url: str
    at: float
    asks: bool = True


@dataclass(frozen=True)
class Told:
    """What merging a page brought; see :class:`Taken`.

    Attributes
    ----------
    state : {"done", "gone", "unreadable"}
        How its request ends when it could be read.
    list_key : str or None
        The list that it is a part of.
    keys : tuple of str
        The articles whose own pages may be wanted now.
    is_damaged : bool
        Whether it was read, but not all of it.
    """

    taken: Taken = field(default_factory=Taken)
    changed: bool = False
    state: Literal["done", "gone", "unreadable"] = "done"
    list_key: str | None = None
    keys: tuple[str, ...] = ()
    is_damaged: bool = False


def parse(request: Claimed, fetched: Fetched) -> Page | PageError:
    """Parse a page by its request's kind; return what is wrong with it when it cannot be read."""
    try:
        match request.kind:
            case "list":
                return parse_list_page(fetched.text(), fetched.url)
            case "graphql":
                return parse_list_answer(
                    fetched.text(),
                    request.list_key or "",
                    origin(fetched.url),
                    request.cursor or "",
                )
            case "feed":
                return parse_feed(fetched.body, fetched.url)
            case _:
                return parse_article_page(fetched.text(), fetched.url)
    except PageError as error:
        return error


def merge(reading: Reading, page: Page | PageError, fetched: Fetched) -> Told:
    """Merge what a page tells, and file what is wrong with it.

    Parameters
    ----------
    reading : Reading
        What it is read with.
    page : ListPage, ArticlePage, Feed or PageError
        What :func:`parse` returned.
    fetched : Fetched
        The page itself.

    Returns
    -------
    Told
        What it brought; neither its request nor its list's reading is ended.
    """
    match page:
        case ListPage():
            told = _merge_list(reading, page)
        case Feed():
            merged = articles.merge(reading.db, page.articles, reading.at)
            why = "the feed is cut off" if page.is_cut else ""
            taken = Taken(ok=not page.is_cut, reason=why, new_articles=merged.new)
            told = Told(taken, merged.changed, keys=merged.keys)
        case ArticlePage():
            told = _merge_article(reading, page)
        case _:
            told = Told(Taken(ok=False, reason=str(page)))
    damage = () if isinstance(page, PageError) else page.damage
    about = problems.subject(reading.request)
    problems.solve(reading.db, about, reading.at)
    reasons = damage or tuple(filter(None, [told.taken.reason]))
    if reasons:
        problems.record(reading.db, reading.run_id, reading.at, about, reasons, fetched.text())
    return told


def _merge_list(reading: Reading, page: ListPage) -> Told:
    db, request = reading.db, reading.request
    if request.list_key != page.list_id:
        db.execute(
            "UPDATE requests SET list_key = ? WHERE id = ?", (page.list_id, request.request_id)
        )
    told = Told(list_key=page.list_id)
    if page.status != "open" and request.kind == "graphql":
        # The endpoint may be closed to all while the list's own page is open to all.
        why = f"the endpoint says the list is {page.status}; its own page decides that"
        return replace(told, taken=Taken(reason=why), state="gone")
    if page.status != "open":
        closed = note_closed(
            reading, page.list_id, page.status, f"the host says it is {page.status}"
        )
        return replace(told, taken=closed, state="gone" if page.status == "gone" else "done")
    records = [item.article for item in page.items if item.article is not None]
    merged = articles.merge(db, records, reading.at)
    keys = iter(merged.keys)
    added = lists.add_part(
        db,
        page,
        cursor=request.cursor or lists.OWN_PAGE,
        round=request.round,
        url=_shown(reading.url),
        keys=[None if item.article is None else next(keys) for item in page.items],
    )
    found = _ask_for_parts(reading, page, fill=bool(merged.lacking)) if added else 0
    taken = Taken(new_articles=merged.new, found=found)
    if page.lost:
        reason = next(iter(page.damage), f"{page.lost} entries cannot be read")
        taken = replace(taken, ok=False, reason=reason)
    return replace(told, taken=taken, changed=merged.changed, is_damaged=page.lost > 0)


def _ask_for_parts(reading: Reading, page: ListPage, *, fill: bool) -> int:
    """Queue the part that follows; and, for what the list's page leaves open, its first part."""
    request = reading.request
    if not reading.asks or request.cursor == FIRST_CURSOR:
        return 0  # it only fills: the chain of parts begins at the list's page
    cursors = [page.next_cursor] if page.next_cursor else []
    if lists.parts_of(reading.db, page.list_id, request.round) >= lists.MAX_PARTS:
        cursors = []
    if fill and request.kind == "list":
        cursors.append(FIRST_CURSOR)
    return sum(
        frontier.add(
            reading.db,
            "graphql",
            f"{origin(reading.url)}/_/graphql",
            now=reading.at,
            list_key=page.list_id,
            cursor=cursor,
            round=request.round,
        )
        for cursor in cursors
    )


def _merge_article(reading: Reading, page: ArticlePage) -> Told:
    db = reading.db
    asked = asked_key(db, reading.request)
    if page.article is None:
        if asked is not None:
            articles.mark_gone(db, asked)
        return Told(state="gone")
    record = page.article
    key = articles.resolve(db, record.key)
    changed = False
    if asked is not None and asked != key:
        if articles.is_post_id(asked) and articles.is_post_id(key):
            return Told(Taken(ok=False, reason=f"the page is of another article, {key}"))
        if articles.is_post_id(asked):
            # Its address tells less than the id; it may be where all that is gone leads to.
            record = replace(record, key=asked, url=articles.url_of(db, asked) or reading.url)
        elif _is_believed(reading, key):
            changed = articles.unite(db, asked, key)
        else:
            record = replace(record, key=asked, url=reading.request.url)
    merged = articles.merge(db, [record], reading.at)
    articles.mark_read(db, merged.keys[0], reading.at)
    taken = Taken(new_articles=merged.new)
    is_damaged = bool(page.damage) and articles.lacks(db, merged.keys[0])
    if is_damaged:
        taken = replace(taken, ok=False, reason=page.damage[0])
    return Told(taken, changed or merged.changed, is_damaged=is_damaged)


def unite_as(reading: Reading, other: Claimed) -> bool:
    """Let the article that was asked for be the one of another request, where its host leads to.

    Returns
    -------
    bool
        Whether the export differs by it.
    """
    db = reading.db
    asked, key = asked_key(db, reading.request), asked_key(db, other)
    if asked is None or key is None or asked == key or articles.is_post_id(asked):
        return False
    is_article = articles.is_post_id(key) or articles.was_read(db, key)
    return is_article and _is_believed(reading, key) and articles.unite(db, asked, key)


def _is_believed(reading: Reading, key: str) -> bool:
    """Tell whether a page may say that it is the article `key`.

    Not of another host's article; nor when it is a host's front page, where many addresses lead.
    """
    url = articles.url_of(reading.db, key)
    return (url is None or host(url) == host(reading.url)) and (
        articles.is_post_id(key) or "/" in key
    )


def asked_key(db: HarvestDatabase, request: Claimed) -> str | None:
    """Return the key of the article whose page was asked for."""
    if request.article_key is not None:
        return articles.resolve(db, request.article_key)
    address = parse_address(request.url)
    return None if address is None else articles.resolve(db, address.key)


def note_closed(
    reading: Reading, list_key: str, state: Literal["private", "gone"], reason: str
) -> Taken:
    """Note that a list is private or gone; see :func:`tagsage.harvest.lists.close`."""
    db = reading.db
    closed = lists.close(
        db,
        list_key,
        reading.request.round,
        state,
        url=_shown(reading.url),
        reason=reason,
        at=reading.at,
    )
    if closed.changed:
        library.bump(db)
    return Taken(memberships=closed.memberships, lists=closed.lists)


def _shown(url: str) -> str:
    """Return a list's address as it is exported: without query, which may hold a secret."""
    address = parse_address(url)
    return url.partition("?")[0] if address is None else address.url

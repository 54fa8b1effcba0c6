"""What a harvest of the local Medium must have found, and how it must have behaved."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from scripts.medium_server import CHALLENGES, ELSEWHERE, Entry, Expected, ExpectedArticle
from tagsage.corpus.fields import parse_date

# Redirects and bodies that are never asked for again: trying once more would change nothing.
FINAL = frozenset({"elsewhere", "private", "gzip_bomb", "deflate_bomb", "brotli_bomb"})
MAX_LOOP = 6
# Between the clock's reading and the moment it is for.
TOLERANCE_S = 0.002


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def check_articles(file: Path, expected: Expected) -> None:
    """See that each article is there exactly once, with the right fields."""
    posts = {url: one.post for one in expected.articles.values() for url in one.urls}
    rows = rows_of(file)
    unknown = [row["story"] for row in rows if row["story"] not in posts]
    assert not unknown, unknown[:5]
    found = Counter(posts[row["story"]] for row in rows)
    # An article without a title has no row.
    wanted = Counter(one.post for one in expected.articles.values() if one.title)
    missing = [expected.articles[post] for post in wanted - found]
    assert not missing, missing[:5]
    more = [row for row in rows if posts[row["story"]] in found - wanted]
    assert not more, more[:5]
    wrong = []
    for row in rows:
        known = expected.articles[posts[row["story"]]]
        if fields_of(row) not in fields_expected(known):
            wrong.append((row, known))
    assert not wrong, wrong[:5]


def fields_of(row: dict[str, str]) -> tuple[object, ...]:
    tags = tuple(json.loads(row["tags"]))
    return (row["title"], row["subtitle"], row["author"], parse_date(row["date"]), tags)


def fields_expected(known: ExpectedArticle) -> list[tuple[object, ...]]:
    return [(known.title, known.subtitle, known.author, known.date_s, tags) for tags in known.tags]


def check_memberships(file: Path, stories: Path, expected: Expected) -> None:
    """See that each membership is there exactly once, under the addresses of the articles."""
    posts = {url: one.post for one in expected.articles.values() for url in one.urls}
    rows = [(list_id(row["list"]), row["article"]) for row in rows_of(file)]
    found = Counter((name, posts.get(url, url)) for name, url in rows)
    wanted = Counter(
        (list_id(url), post) for url, members in expected.memberships.items() for post in members
    )
    assert found == wanted, (list(found - wanted)[:5], list(wanted - found)[:5])
    shown = {row["story"] for row in rows_of(stories)}
    lost = {url for _, url in rows if url not in shown}
    assert all(not expected.articles[posts[url]].title for url in lost)


def list_id(url: str) -> str:
    return url.rpartition("/")[2].rpartition("-")[2]


def by_host(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    found = defaultdict(list)
    for entry in sorted(entries, key=lambda entry: entry.at):
        found[entry.host].append(entry)
    return found


def neighbours(entries: Iterable[Entry]) -> Iterator[tuple[Entry, Entry]]:
    """Give each request with the one before it to the same host."""
    for ours in by_host(entries).values():
        yield from pairwise(ours)


def check_pace(entries: Sequence[Entry], delay_s: float, retry_after_s: float) -> None:
    """See that hosts were asked one thing at a time, apart, and after failures later."""
    for before, after in neighbours(entries):
        gap = after.at - before.ended
        assert gap >= delay_s - TOLERANCE_S, (gap, before, after)
        if before.fault in {"429_seconds", "429_date", "503_seconds"}:
            assert gap >= retry_after_s - TOLERANCE_S, (gap, before, after)
        elif before.fault in {"429_bare", "503", "reset_before", "reset_body", "truncated"}:
            assert gap >= 1 - TOLERANCE_S, (gap, before, after)


def check_robots_first(entries: Iterable[Entry]) -> None:
    """See that nothing was asked for before the rules were there, nor what they bar."""
    for host, ours in by_host(entries).items():
        kinds = [entry.kind for entry in ours]
        known = next(
            position
            for position, entry in enumerate(ours)
            if entry.kind == "robots" and entry.status == 200 and entry.complete
        )
        assert set(kinds[:known]) <= {"robots"}, (host, kinds[: known + 1])
        assert "robots" not in kinds[known + 1 :], host
        assert not [entry.path for entry in ours if entry.path.startswith("/media/")]


def check_honesty(entries: Iterable[Entry], contact: str) -> None:
    """See that each request says who asks, and carries nothing that tells one from another."""
    for entry in entries:
        assert entry.headers["User-Agent"].startswith("tagsage/"), entry
        assert f"(+{contact})" in entry.headers["User-Agent"], entry
        assert entry.headers.get("From") == contact, entry
        assert "Cookie" not in entry.headers, entry
        assert entry.host != ELSEWHERE, entry


def check_once(entries: Iterable[Entry], kills: int) -> None:
    """See that nothing was fetched twice but after a fault, or one thing a kill and host."""
    good: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for entry in entries:
        if entry.fault in FINAL or (not entry.fault and entry.complete):
            good[entry.host][entry.target] += 1
        elif entry.fault == "loop":
            good[entry.host][*entry.target[:2], entry.path.partition("?")[0], "loop"] += 1
    for host, counts in good.items():
        twice = {
            target: count
            for target, count in counts.items()
            if count > (MAX_LOOP if target[-1] == "loop" else 1)
        }
        more = sum(
            count - (MAX_LOOP if target[-1] == "loop" else 1) for target, count in twice.items()
        )
        assert more <= kills, (host, twice)


def check_challenges(entries: Iterable[Entry], pause_s: float) -> None:
    """See that a host that showed a challenge was left alone."""
    for before, after in neighbours(entries):
        if before.fault in CHALLENGES:
            assert after.at - before.ended >= pause_s - TOLERANCE_S, (before, after)

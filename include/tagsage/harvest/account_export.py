"""The account export (a zip file), in which Medium hands its users their lists and posts.

``lists/NAME-ID.html`` has a heading `p-name` and an entry `li[data-field=post]` per article;
``posts/*.html`` are the user's own posts, in h-entry form. Neither has tags.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote

from parsel import Selector

from tagsage.errors import NonRetryableError
from tagsage.harvest.items import Article, Problem, ReadingList
from tagsage.harvest.medium_state import NAME, SUBTITLE, TITLE, line, milliseconds, usable
from tagsage.harvest.medium_state import web_address as address_of

LARGEST_MEMBER: Final = 10_000_000  # bytes, unpacked
LARGEST_EXPORT: Final = 1_000_000_000  # bytes, unpacked
_ID = re.compile(r"(?:^|-)([0-9a-f]{8,16})$")
_DEFAULT_LIST = re.compile(r"predefined[^0-9a-f]+([0-9a-f]{8,16})[^0-9a-z]+READING_LIST$")


def read_account_export(file: Path) -> Iterator[Article | ReadingList | Problem]:
    """Read the lists and published posts in an account export; nothing is unpacked to the disk.

    What cannot be read is a problem. Raises `NonRetryableError` when the file is no zip file, is
    too large, or holds neither.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            for info in _pages(archive, file):
                yield from _read(archive, info, file.name)
    except (zipfile.BadZipFile, OSError) as error:
        msg = f"{file} cannot be read as a zip file; download your account export again."
        raise NonRetryableError(msg) from error


def parse_list_file(html: str, name: str) -> tuple[ReadingList, tuple[Article, ...]]:
    """Read a list of an export; its file name ends in the list's id."""
    page = Selector(text=usable(html) or " ", type="html")
    links = page.xpath("//li[@data-field='post']//a[@href]")
    articles: dict[str, Article] = {}
    for link in links:
        address = address_of(link.attrib["href"])
        if address is not None:
            title = line(link.xpath("string()").get(), TITLE) or None
            article = Article(address.key, address.url, "export", title=title)
            articles.setdefault(address.key, article)
    canonical = address_of(page.xpath("//footer//a[contains(@href, '/list/')]/@href").get())
    author = address_of(page.xpath("//a[contains(@class, 'p-author')]/@href").get())
    own_id, default = _ID.search(name), _DEFAULT_LIST.search(unquote(name))
    key, url = name, f"https://medium.com/list/{name}"
    if own_id:
        key, url = own_id[1], f"https://medium.com/list/{own_id[1]}"
    elif default and author:
        key, url = f"predefined:{default[1]}:READING_LIST", f"{author.url}/list/reading-list"
    reading = ReadingList(
        key=key,
        url=canonical.url if canonical else url,
        state="open",
        name=_text(page, "p-name", TITLE),
        owner=_text(page, "p-author", NAME),
        size=len(articles),
        members=tuple(articles),
        read=len(articles),
        is_complete=True,
    )
    return reading, tuple(articles.values())


def parse_post_file(html: str) -> Article | None:
    """Read one of the user's own posts; None when it was never published."""
    page = Selector(text=usable(html) or " ", type="html")
    address = address_of(page.xpath("//a[contains(@class, 'p-canonical')]/@href").get())
    if address is None:
        return None
    missing: dict[str, str] = {}
    published = page.xpath("//time[contains(@class, 'dt-published')]/@datetime").get()
    subtitle = page.xpath("string(//*[@data-field='subtitle'])").get()
    return Article(
        key=address.key,
        url=address.url,
        source="export",
        title=_text(page, "p-name", TITLE),
        subtitle=line(subtitle, SUBTITLE),
        author=_text(page, "p-author", NAME),
        published_ms=milliseconds(published, missing),
        missing=missing,
    )


def _text(page: Selector, name: str, limit: int) -> str | None:
    """Return the text of the first element of a class; None when it is blank."""
    return line(page.xpath(f"string(//*[contains(@class, '{name}')])").get(), limit) or None


def _pages(archive: zipfile.ZipFile, file: Path) -> list[zipfile.ZipInfo]:
    """Return the lists and published posts; a folder may be around the export."""
    # No more than the sizes in the directory is ever read.
    if sum(info.file_size for info in archive.infolist()) > LARGEST_EXPORT:
        msg = f"{file} unpacks to more than {LARGEST_EXPORT:,} bytes; it is no account export."
        raise NonRetryableError(msg)
    pages = []
    for info in archive.infolist():
        path = PurePosixPath(info.filename)
        is_draft = path.parent.name == "posts" and path.name.startswith("draft")
        if path.suffix == ".html" and path.parent.name in {"lists", "posts"} and not is_draft:
            pages.append(info)
    if not pages:
        msg = f"{file} holds no lists and no posts; give Medium's account export as it came."
        raise NonRetryableError(msg)
    return pages


def _read(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, export: str
) -> Iterator[Article | ReadingList | Problem]:
    path = PurePosixPath(info.filename)
    place = f"{export}/{path.parent.name}/{path.name}"
    if info.file_size > LARGEST_MEMBER:
        yield Problem(place, "unreadable", f"it is larger than {LARGEST_MEMBER:,} bytes")
        return
    try:
        html = archive.read(info).decode("utf-8", "replace")
    except (RuntimeError, NotImplementedError, zipfile.BadZipFile, EOFError, zlib.error):
        yield Problem(place, "unreadable", "the file in the export is damaged or encrypted")
        return
    if path.parent.name == "lists":
        reading, articles = parse_list_file(html, path.stem)
        yield from articles
        yield reading
        return
    article = parse_post_file(html)
    yield article or Problem(place, "missing", "the post has no canonical address")

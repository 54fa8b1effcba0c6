"""What a harvest of the site must find."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from scripts.medium_site.pages import one_line
from scripts.medium_site.world import ELSEWHERE, Place, Post, World, tag_slug

Tags = tuple[str, ...]


@dataclass(frozen=True)
class ExpectedArticle:
    """An article.

    Attributes
    ----------
    urls : frozenset of str
        The addresses under any of which it may be shown.
    date_s : int
        Seconds since 1970.
    tags : frozenset of tuple of str
        Any of these: a feed writes tags in another way than pages do, and which of them is read
        first may depend on the order of requests.
    """

    post: str
    urls: frozenset[str]
    title: str
    subtitle: str
    author: str
    date_s: int
    tags: frozenset[Tags]


@dataclass(frozen=True)
class Expected:
    """The articles by post, and what is in each list by its address."""

    articles: dict[str, ExpectedArticle]
    memberships: dict[str, tuple[str, ...]]


def expect(
    world: World,
    url_of: Callable[[Place], str],
    *,
    lists: bool = True,
    feeds: bool = True,
    pages: bool = True,
    broken_lists: Collection[str] = (),
) -> Expected:
    """Tell what is to be found.

    Parameters
    ----------
    world : World
        What the site holds.
    url_of : callable
        Gives the address of a place.
    lists, feeds : bool
        Whether all lists, and all feeds, are read.
    pages : bool
        Whether the pages of articles are read where fields are lacking.
    broken_lists : collection of str
        Ids of lists that cannot be had although they are open.

    Returns
    -------
    Expected
        Articles without a title are among them.
    """
    read = [
        one
        for one in world.lists.values()
        if lists and one.status == "open" and one.id not in broken_lists
    ]
    listed = {post for one in read for post in one.posts()}
    in_feeds = {post for feed in world.feeds if feeds for post in feed.posts}
    hosts = [Place(host, "") for host in world.hosts()]
    articles = {}
    for name in sorted(listed | in_feeds):
        post = world.posts[name]
        urls = {url_of(place) for place in post.places}
        urls |= {f"{url_of(host)}/p/{post.id}" for host in hosts}
        has_page = pages and post.page == "open" and post.places[0].host != ELSEWHERE
        articles[name] = ExpectedArticle(
            post.id,
            frozenset(urls),
            one_line(post.title),
            one_line(post.subtitle) if name in listed or has_page else "",
            one_line(post.author.name),
            post.published_ms // 1000,
            frozenset(
                _tags(post, is_listed=name in listed, in_feed=name in in_feeds, has_page=has_page)
            ),
        )
    return Expected(articles, {url_of(one.place): one.posts() for one in read})


def _tags(post: Post, *, is_listed: bool, in_feed: bool, has_page: bool) -> set[Tags]:
    as_slugs = tuple(dict.fromkeys(tag_slug(tag) for tag in post.tags))
    if is_listed and post.tells_tags:
        # A feed that was read first leaves nothing to ask the endpoint for.
        return {post.tags, as_slugs} if in_feed else {post.tags}
    if has_page:
        # What is only in a feed lacks its subtitle, so its page is read.
        return {post.tags, as_slugs} if in_feed and is_listed else {post.tags}
    return {as_slugs} if in_feed else {()}

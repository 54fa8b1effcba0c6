"""The generated Medium: everything from one seed, and how it changes from run to run."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace

from scripts.medium_site.words import (
    FIRST_NAMES,
    HOSTILE_NAMES,
    HOSTILE_TAGS,
    HOSTILE_TITLES,
    LAST_NAMES,
    PLAIN_WORDS,
    TOPICS,
)
from scripts.medium_site.world import (
    ELSEWHERE,
    MAIN,
    Author,
    Config,
    FeedOf,
    Item,
    ItemKind,
    ListStatus,
    Place,
    Post,
    PostPage,
    ReadingList,
    World,
    host_names,
    tag_slug,
)

SPECIAL_PAGES: tuple[PostPage, ...] = (
    *("members", "gone", "removed", "barred", "loop", "elsewhere", "private"),
    *("gzip_bomb", "deflate_bomb", "brotli_bomb", "foreign", "broken"),
)
TEN_YEARS_MS = 10 * 365 * 86_400_000
EPOCH_MS = 1_420_070_400_000  # 2015-01-01
FEED_POSTS = 10


def make_world(config: Config) -> World:
    """Generate a site.

    Returns
    -------
    World
        The same for the same configuration.
    """
    draw = random.Random(config.seed)  # ruff: ignore[suspicious-non-cryptographic-random-usage]
    authors = _authors(draw, max(12, config.posts // 12))
    posts = _posts(draw, config, authors)
    titled = [post for post in posts if post.page == "open" and post.title]
    in_feeds = titled[len(titled) - config.feed_posts :]
    left_out = {post.id for post in in_feeds}
    listed = [post for post in posts if post.id not in left_out]
    lists = _lists(draw, config, authors, listed)
    feeds = _feeds(config, posts, in_feeds)
    moved = {
        Place(a_list.place.host, f"/@{a_list.owner.username}/list/old-name-{a_list.id}"): (
            a_list.place
        )
        for a_list in lists
    }
    return World(
        config,
        {post.id: post for post in posts},
        {a_list.id: a_list for a_list in lists},
        feeds,
        moved=moved,
    )


def next_run(world: World) -> World:
    """Let the site change: lists grow, shrink, are put in another order, close; titles change."""
    draw = random.Random(f"{world.config.seed}/{world.run + 1}")  # ruff: ignore[suspicious-non-cryptographic-random-usage]
    posts, lists = dict(world.posts), dict(world.lists)
    large = [
        a_list for a_list in lists.values() if a_list.status == "open" and len(a_list.posts()) >= 3
    ]
    if len(large) < 5:
        raise ValueError("the site has too few lists that can change; make more of them")
    grown, shrunk, reordered, closed, retitled = draw.sample(large, 5)
    present = set(grown.posts())
    others = [post.id for post in posts.values() if post.page == "open" and post.id not in present]
    new = tuple(
        Item(f"{grown.id}x{world.run}{number}", "post", post)
        for number, post in enumerate(draw.sample(others, 3))
    )
    lists[grown.id] = replace(grown, items=(*new, *grown.items))
    lists[shrunk.id] = replace(shrunk, items=shrunk.items[1 : len(shrunk.items) // 2 + 1])
    lists[reordered.id] = replace(reordered, items=reordered.items[::-1])
    lists[closed.id] = replace(closed, status="private")
    # One that its list shows on the page itself, so that the change can be seen there.
    shown = next(item.post for item in retitled.items[:20] if item.kind == "post")
    posts[shown] = replace(posts[shown], title=f"{posts[shown].title} (run {world.run + 2})")
    return replace(world, posts=posts, lists=lists, run=world.run + 1)


def _hex(draw: random.Random, digits: int) -> str:
    return f"{draw.getrandbits(4 * digits):0{digits}x}"


def _authors(draw: random.Random, n: int) -> list[Author]:
    authors = []
    for number in range(n):
        name = f"{draw.choice(FIRST_NAMES)} {draw.choice(LAST_NAMES)}"
        if number < len(HOSTILE_NAMES):
            name = HOSTILE_NAMES[number]
        username = f"{re.sub(r'[^a-z]', '', name.lower()) or 'user'}{number}"
        authors.append(Author(_hex(draw, 12), name, username))
    return authors


def _words(draw: random.Random, topic: str, n: int) -> str:
    own = TOPICS[topic].split()
    return " ".join(draw.choice(own if draw.random() < 0.5 else PLAIN_WORDS) for _ in range(n))


def _posts(draw: random.Random, config: Config, authors: Sequence[Author]) -> list[Post]:
    pages: list[PostPage] = [page for page in SPECIAL_PAGES for _ in range(config.special)]
    if len(pages) > config.posts // 2:
        raise ValueError(f"{config.posts} posts are too few for {len(pages)} special ones")
    # Far from each other: several refusals in a row would close a host.
    step = max(1, (config.posts - config.feed_posts) // (len(pages) + 1))
    at = {step * (position + 1): page for position, page in enumerate(_mixed(pages, config))}
    return [
        _post(draw, config, authors, number, at.get(number, "open"))
        for number in range(config.posts)
    ]


def _mixed(pages: list[PostPage], config: Config) -> list[PostPage]:
    """Return the kinds in turn: no two of a kind beside each other."""
    return [
        page for turn in range(config.special) for page in pages[turn :: max(1, config.special)]
    ]


def _post(
    draw: random.Random, config: Config, authors: Sequence[Author], number: int, page: PostPage
) -> Post:
    topic = draw.choice(list(TOPICS))
    title = _words(draw, topic, draw.randint(4, 9)).capitalize()
    if page == "open" and number % 40 == 7:
        title = f"{HOSTILE_TITLES[number // 40 % len(HOSTILE_TITLES)]} {number}"
    elif page == "open" and number % 400 == 11:
        title = ""
    subtitle = _words(draw, topic, draw.randint(6, 16)) if draw.random() < 0.85 else ""
    if subtitle and number % 60 == 9:
        subtitle = f"{draw.choice(HOSTILE_TITLES)} {number}"
    tags = []
    if draw.random() < 0.7:
        tags = [topic, *draw.sample(list(TOPICS), draw.randint(0, 3))]
        tags += draw.sample(TOPICS[topic].split(), draw.randint(0, 2))
        if number % 50 == 3:
            tags.append(draw.choice(HOSTILE_TAGS))
    author = draw.choice(authors)
    post_id = _hex(draw, 8 if number % 97 == 5 else 12)
    return Post(
        id=post_id,
        title=title,
        subtitle=subtitle,
        author=author,
        published_ms=EPOCH_MS + draw.randrange(TEN_YEARS_MS),
        tags=tuple(dict.fromkeys(tags)),
        places=_places(draw, config, number, post_id, page, author, title),
        page=page,
        has_old_subtitle=draw.random() < 0.3,
        # Otherwise nobody would ask for the pages that are not to be had.
        tells_tags=draw.random() < config.graphql_tags and page == "open",
        tells_url=page != "open" or number % 150 != 13,
        topic=topic,
    )


def _places(
    draw: random.Random,
    config: Config,
    number: int,
    post_id: str,
    page: PostPage,
    author: Author,
    title: str,
) -> tuple[Place, ...]:
    slug = "-".join(re.findall(r"[a-z]+", title.lower()))[:60] or "untitled"
    by_author = Place(MAIN, f"/@{author.username}/{slug}-{post_id}")
    if page == "foreign":
        return (Place(ELSEWHERE, f"/{slug}-{post_id}"),)
    if page == "barred":
        return (Place(MAIN, f"/media/{slug}-{post_id}"),)
    publication = draw.randrange(2 * max(1, config.publications))
    if page != "open" or publication >= config.publications:
        places = [by_author]
        if page == "open" and number % 10 == 4:
            places.append(Place(MAIN, f"/some-publication/{slug}-{post_id}"))
        return tuple(places)
    host = f"pub{publication}"
    if number % 12 == 1:
        # A publication's own address, with nothing in it that tells the post.
        return (Place(host, f"/{slug}/{number}th"),)
    return (Place(host, f"/{slug}-{post_id}"), by_author)


def _lists(
    draw: random.Random, config: Config, authors: Sequence[Author], posts: Sequence[Post]
) -> list[ReadingList]:
    closed: list[ListStatus] = ["private", "404", "410", "not_found"]
    n_closed = max(4, config.lists // 25)
    sizes = [max(1, min(600, round(draw.lognormvariate(2.9, 0.9)))) for _ in range(config.lists)]
    n_open = max(1, config.lists - n_closed)
    waiting = [post.id for post in posts]
    draw.shuffle(waiting)
    # Every post is in one list at least; large lists take more of them.
    parts, rounded = [], 0.0
    for size in sizes[:n_open]:
        start = round(rounded)
        rounded += size / sum(sizes[:n_open]) * len(waiting)
        parts.append(waiting[start : round(rounded)])
    all_ids = [post.id for post in posts]
    lists = []
    for number in range(config.lists):
        list_id = _hex(draw, 12)
        is_open = number < n_open
        own = parts[number] if is_open else []
        members = list(dict.fromkeys([*own, *draw.choices(all_ids, k=1 + sizes[number] // 2)]))
        draw.shuffle(members)
        if number % 9 == 2 and len(members) > 1:
            members.append(members[0])  # one post twice
        owner = draw.choice(authors)
        name = _words(draw, draw.choice(list(TOPICS)), 3)
        if number % 15 == 4:
            name = HOSTILE_TITLES[number // 15 % len(HOSTILE_TITLES)]
        slug = "" if number % 17 == 6 else "-".join(re.findall(r"[a-z]+", name.lower())) + "-"
        host = MAIN
        if config.publications and number % 8 == 5:
            host = f"pub{number // 8 % config.publications}"
        lists.append(
            ReadingList(
                list_id,
                name,
                owner,
                Place(host, f"/@{owner.username}/list/{slug.removeprefix('-')}{list_id}"),
                "open" if is_open else closed[number % len(closed)],
                _items(draw, list_id, members),
            )
        )
    return lists


def _items(draw: random.Random, list_id: str, members: Sequence[str]) -> tuple[Item, ...]:
    items: list[Item] = []
    for post in members:
        kind: ItemKind = "post"
        if draw.random() < 0.03:
            items.append(Item(f"{list_id}d{len(items)}", "deleted"))
        if draw.random() < 0.01:
            items.append(Item(f"{list_id}o{len(items)}", "other"))
        items.append(Item(f"{list_id}p{len(items)}", kind, post))
    return tuple(items)


def _feeds(config: Config, posts: Sequence[Post], only_here: Sequence[Post]) -> tuple[FeedOf, ...]:
    """Make a feed of each kind; those posts that are in no list fill as many as they need."""
    feeds = []
    for number in range(0, len(only_here), FEED_POSTS):
        part = only_here[number : number + FEED_POSTS]
        if number % (2 * FEED_POSTS) == 0:
            place, title = Place(MAIN, f"/feed/@reader{number}"), f"Stories by Reader {number}"
        else:
            place, title = Place(MAIN, f"/feed/publication-{number}"), f"Publication {number}"
        feeds.append(FeedOf(place, title, _newest(part)))
    topic = next(iter(TOPICS))
    about = [post for post in posts if topic in post.tags and post.title]
    feeds.append(FeedOf(Place(MAIN, f"/feed/tag/{tag_slug(topic)}"), topic, _newest(about)))
    for name in host_names(config)[1:]:
        here = [post for post in posts if post.places[0].host == name and post.title]
        feeds.append(FeedOf(Place(name, "/feed"), f"Publication <{name}>", _newest(here)))
    return tuple(feed for feed in feeds if feed.posts)


def _newest(posts: Sequence[Post]) -> tuple[str, ...]:
    ordered = sorted(posts, key=lambda post: (-post.published_ms, post.id))
    return tuple(post.id for post in ordered[:FEED_POSTS])

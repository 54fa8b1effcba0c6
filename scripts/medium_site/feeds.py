"""RSS feeds and robots.txt."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

from scripts.medium_site.pages import UrlOf
from scripts.medium_site.world import FeedOf, Post, World, tag_slug

# As Medium's: named crawlers are kept out, everybody from some paths.
ROBOTS = """\
User-agent: *
Disallow: /m/
Disallow: /me/
Disallow: /@me$
Disallow: /@me/
Disallow: /*/edit$
Disallow: /*/*/edit$
Disallow: /media/
Disallow: /p/*/share
Disallow: /search?q=
Allow: /_/
Allow: /_/graphql
{more}
User-agent: GPTBot
User-agent: ClaudeBot
User-agent: CCBot
Disallow: /

Sitemap: {origin}/sitemap/sitemap.xml
"""


def robots_text(origin: str, crawl_delay_s: float = 0.0) -> bytes:
    """Return a host's robots.txt."""
    more = f"Crawl-delay: {crawl_delay_s:g}\n" if crawl_delay_s else ""
    return ROBOTS.format(origin=origin, more=more).encode()


def feed_xml(world: World, feed: FeedOf, url_of: UrlOf) -> bytes:
    """Return a feed: its posts, the newest first, without subtitles."""
    items = "".join(_item(world.posts[post], url_of) for post in feed.posts)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<rss xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:content="http://purl.org/rss/1.0/modules/content/" '
        'xmlns:atom="http://www.w3.org/2005/Atom" version="2.0"><channel>'
        f"<title>{_cdata(feed.title)}</title>"
        f"<description>{_cdata(feed.title)}</description>"
        f"<link>{_escape(url_of(feed.place))}</link>"
        "<generator>Medium</generator>"
        f'<atom:link href="{_escape(url_of(feed.place))}" rel="self" type="application/rss+xml"/>'
        f"{items}</channel></rss>"
    ).encode()


def _item(post: Post, url_of: UrlOf) -> str:
    moment = datetime.fromtimestamp(post.published_ms // 1000, UTC)
    tags = "".join(f"<category>{_cdata(tag_slug(tag))}</category>" for tag in post.tags)
    link = f"{url_of(post.places[0])}?source=rss----{post.id}---4"
    return (
        f"<item><title>{_cdata(post.title)}</title><link>{_escape(link)}</link>"
        f'<guid isPermaLink="false">https://medium.com/p/{post.id}</guid>{tags}'
        f"<dc:creator>{_cdata(post.author.name)}</dc:creator>"
        f"<pubDate>{format_datetime(moment, usegmt=True)}</pubDate>"
        f"<content:encoded>{_cdata('<p>The beginning of the story</p>')}</content:encoded></item>"
    )


def _cdata(text: str) -> str:
    return "<![CDATA[" + text.replace("]]>", "]]]]><![CDATA[>") + "]]>"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")

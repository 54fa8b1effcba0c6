"""robots.txt: read as RFC 9309 says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.harvest.robots import MAX_BYTES, read, text_of

HERE = "https://medium.com"
MEDIUM = """
User-Agent: *
Disallow: /m/
Disallow: /search?q=
Disallow: /media/
Disallow: /*/edit$
Allow: /_/
Allow: /_/api/users/*/meta

User-agent: GPTBot
User-agent: ClaudeBot
Disallow: /
"""


@pytest.mark.parametrize(
    ("text", "path", "allowed"),
    [
        ("", "/a", True),
        (MEDIUM, "/@a/list/nlp-0123456789ab", True),
        (MEDIUM, "/_/graphql", True),
        (MEDIUM, "/search?q=x", False),
        (MEDIUM, "/p/1/edit", False),
        (MEDIUM, "/p/1/edit/on", True),
        # The group that names us, and not the one for all (2.2.1).
        ("User-agent: *\nDisallow: /\n\nUser-agent: tagsage\nDisallow: /x", "/a", True),
        ("User-agent: *\nAllow: /\n\nUser-agent: TagSage\nDisallow: /", "/a", False),
        # Several groups that name us are one.
        ("User-agent: tagsage\nDisallow: /a\n\nUser-agent: tagsage\nDisallow: /b", "/b", False),
        # The longest rule decides, Allow on a draw (2.2.2).
        ("User-agent: *\nDisallow: /a\nAllow: /a/b", "/a/b/c", True),
        ("User-agent: *\nDisallow: /a/b\nAllow: /a", "/a/b/c", False),
        ("User-agent: *\nDisallow: /a\nAllow: /a", "/a", True),
        ("User-agent: *\nDisallow:", "/a", True),
        ("User-agent: *\nDisallow: /caf%C3%A9", "/caf%C3%A9", False),
        ("\ufeffUser-agent: *\nDisallow: /", "/a", False),
        ("<html>Not found</html>", "/a", True),
    ],
)
def test_a_path_is_allowed_as_the_rfc_says(text, path, allowed):
    assert read(text_of(text.encode())).allow(HERE + path) is allowed


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0.0),
        ("User-agent: *\nCrawl-delay: 7", 7.0),
        ("User-agent: *\nCrawl-delay: 0.5", 0.5),
        ("User-agent: *\nCrawl-delay: soon", 0.0),
        ("User-agent: *\nCrawl-delay: -1", 0.0),
        ("User-agent: *\nCrawl-delay: nan", 0.0),
        ("User-agent: *\nCrawl-delay: inf", 0.0),
        ("User-agent: *\nRequest-rate: 1/30", 30.0),
        # Longer than a day is not meant; some numbers are no floats at all.
        ("User-agent: *\nCrawl-delay: 1e300", 86_400.0),
        (f"User-agent: *\nRequest-rate: 1/{'9' * 309}", 86_400.0),
        (f"User-agent: *\nRequest-rate: {'9' * 309}/{'9' * 309}", 1.0),
        ("User-agent: *\nCrawl-delay: 60\nRequest-rate: 1/30", 60.0),
        ("User-agent: other\nCrawl-delay: 60", 0.0),
        ("User-agent: *\nCrawl-delay: 60\n\nUser-agent: tagsage\nCrawl-delay: 5", 5.0),
    ],
)
def test_the_longest_wait_that_is_asked_for_holds(text, seconds):
    assert read(text).crawl_delay_s == seconds


def test_no_more_than_half_a_megabyte_is_read():
    text = text_of(b"User-agent: *\nDisallow: /a\n" + b"#" * MAX_BYTES + b"\nDisallow: /b\n")
    assert len(text) == MAX_BYTES
    rules = read(text)
    assert not rules.allow(f"{HERE}/a")
    assert rules.allow(f"{HERE}/b")


@given(st.binary(max_size=200), st.sampled_from(["", "User-agent: *\n"]))
def test_any_bytes_are_read(body, start):
    rules = read(text_of(start.encode() + body))
    assert isinstance(rules.allow(f"{HERE}/a"), bool)
    assert 0 <= rules.crawl_delay_s < float("inf")

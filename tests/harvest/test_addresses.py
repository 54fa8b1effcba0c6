"""Addresses: what is asked, of whom, and what is never asked."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.errors import NonRetryableError
from tagsage.harvest.addresses import (
    AddressError,
    asked_url,
    check_contact,
    is_private,
    kind_of,
    list_id,
    site,
)

ID = "0123456789ab"


@pytest.mark.parametrize(
    ("url", "kind", "identity"),
    [
        (f"https://medium.com/@a/list/nlp-{ID}", "list", ID),
        (f"https://a.medium.com/list/nlp-{ID.upper()}/?source=x", "list", ID),
        ("https://medium.com/@a/list/reading-list", "list", None),
        ("https://medium.com/feed/@a", "feed", None),
        ("https://medium.com/feed/tag/nlp", "feed", None),
        ("https://towards.example/feed", "feed", None),
        ("https://towards.example/rss.xml", "feed", None),
        (f"https://towards.example/feeding-cats-{ID}", "article", None),
        (f"https://medium.com/p/{ID}", "article", None),
    ],
)
def test_an_address_names_a_list_a_feed_or_an_article(url, kind, identity):
    assert kind_of(url) == kind
    assert list_id(url) == identity


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        (" https://Medium.com:443/@a#top ", "https://medium.com/@a"),
        ("http://medium.com.", "http://medium.com/"),
        ("https://m.example/a?source=x&b=1&source=y", "https://m.example/a?b=1"),
        ("https://m.example/ä", "https://m.example/%C3%A4"),
        ("https://bücher.example:8443/", "https://xn--bcher-kva.example:8443/"),
        ("http://[::1]:80/x", "http://[::1]/x"),
    ],
)
def test_an_address_is_asked_for_in_one_form(url, asked):
    assert asked_url(url) == asked
    assert asked_url(asked) == asked


@pytest.mark.parametrize(
    "url",
    ["", "medium.com/@a", "ftp://m.example/", "https://", "https://a:b@m.example/", "https://a@m/",
     "https://m.example/a b", "https://m.example\\@x/", "https://m.example:99999/", "http://[1/"],
)  # fmt: skip
def test_what_is_no_address_or_holds_a_password_is_never_asked(url):
    with pytest.raises(AddressError) as caught:
        asked_url(url)
    assert "a:b" not in str(caught.value)


@given(st.text())
def test_any_text_is_an_address_or_is_refused(text):
    for prefix in ("", "https://", "https://m.example/"):
        asked = None
        with suppress(AddressError):
            asked = asked_url(prefix + text)
        assert asked is None or asked.startswith(("http://", "https://"))


@pytest.mark.parametrize(
    ("host", "private"),
    [
        ("127.0.0.1", True),
        ("10.1.2.3", True),
        ("169.254.169.254", True),
        ("100.64.0.1", True),
        ("224.0.0.1", True),
        ("0.0.0.0", True),
        ("[::1]", True),
        ("::ffff:10.0.0.1", True),
        ("fe80::1%eth0", True),
        ("localhost", True),
        ("printer.local", True),
        ("2130706433", True),
        ("medium.com", False),
        ("8.8.8.8", False),
        ("2606:4700::1111", False),
    ],
)
def test_private_networks_are_told_from_the_public_one(host, private):
    assert is_private(host) == private


def test_names_below_medium_com_are_one_server():
    names = ("https://medium.com/x", "https://ann.medium.com/", "http://medium.com:80/feed")
    assert {site(url) for url in names} == {"medium.com"}
    assert site("https://notmedium.com/") == "notmedium.com"
    assert site("http://127.0.0.1:81/") != site("http://127.0.0.1:82/")


@pytest.mark.parametrize(
    ("contact", "is_one"),
    [
        ("me@example.org", True),
        ("https://example.org/about?x=1", True),
        ("me", False),
        ("me@example", False),
        ("https://example.org/) evil", False),
        ("https://a:b@example.org/", False),
        ("me@example.org\r\nX: y", False),
    ],
)
def test_a_contact_is_one_page_or_mailbox_fit_for_a_header(contact, is_one):
    if is_one:
        assert check_contact(contact) is None
    else:
        with pytest.raises(NonRetryableError, match="neither a mail address nor") as caught:
            check_contact(contact)
        assert "a:b" not in str(caught.value)

"""Addresses: read strictly, written in one form, and told from those of private networks."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.errors import TagsageError
from tagsage.harvest.addresses import (
    AddressError,
    canonical,
    charset_of,
    check_contact,
    is_private,
    kind_of,
    list_id,
    origin,
    redacted,
    server,
    siblings,
    split,
)

ID = "0123456789ab"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        (f"https://medium.com/@a/list/nlp-{ID}", "list"),
        (f"https://medium.com/@a/list/{ID}", "list"),
        (f"https://medium.com/@a/list/reading-list-{ID}/?source=x", "list"),
        (f"http://blog.example.com/list/a-b-{ID[:8]}", "list"),
        (f"https://medium.com/@a/list/nlp-{ID[:7]}", "list"),
        ("https://medium.com/@a/list/reading-list", "list"),
        ("https://ann.medium.com/list/reading-list/?source=x", "list"),
        ("https://blog.example.com/posts/list/top-ten", "article"),
        ("https://blog.example.com/list", "article"),
        (f"https://medium.com/@a/list/nlp-{ID}/more", "article"),
        ("https://medium.com/feed", "feed"),
        ("https://medium.com/feed/@a", "feed"),
        ("https://medium.com/feed/tag/nlp", "feed"),
        ("https://blog.example.com/feed", "feed"),
        ("https://blog.example.com/en/feed/", "feed"),
        ("https://blog.example.com/rss", "feed"),
        ("https://blog.example.com/atom.xml", "feed"),
        ("https://blog.example.com/latest.rss", "feed"),
        ("https://blog.example.com/my-feed-2.xml", "feed"),
        ("https://blog.example.com/en/index.xml", "feed"),
        ("https://blog.example.com/sitemap.xml", "article"),
        ("https://blog.example.com/feeds/page.xml", "article"),
        ("https://blog.example.com/feeding-cats", "article"),
        ("https://medium.com/@a/title-0123456789ab", "article"),
        ("https://medium.com", "article"),
        ("https://medium.com/feed/../@a/title-0123456789ab", "article"),
        ("https://medium.com//feed/@a", "feed"),
    ],
)
def test_an_address_means_a_list_a_feed_or_else_an_article(url, kind):
    assert kind_of(url) == kind


def test_the_id_of_a_list_is_the_digits_that_end_it_in_lower_case():
    assert list_id("https://medium.com/@a/list/nlp-0123456789AB") == ID
    assert list_id("https://medium.com/@a/nlp-0123456789ab") is None
    assert list_id("https://medium.com/@a/list/reading-list") is None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://medium.com/a", "no http or https"),
        ("file:///etc/passwd", "no http or https"),
        ("javascript:alert(1)", "no http or https"),
        ("data:text/html,x", "no http or https"),
        ("//medium.com/a", "no http or https"),
        ("medium.com/a", "no http or https"),
        ("", "no http or https"),
        ("https://", "host is no name"),
        ("https:///path", "host is no name"),
        ("https://user@medium.com/", "user name"),
        ("https://medium.com:secret@10.0.0.1/", "user name"),
        ("https://@medium.com/", "user name"),
        ("https://medium.com:port/", "no URL"),
        ("https://medium.com:99999/", "no URL"),
        ("https://medium.com:0/", "port 0"),
        ("https://med ium.com/", "spaces"),
        ("https://medium.com/a\r\nHost: evil", "spaces"),
        ("https://medium.com/\x00", "spaces"),
        ("https://medium.com\\@evil.com/", "backslash"),
        ("https://[::1/", "no URL"),
        ("https://[::zz]/", "no "),
        ("https://a..b/", "host is no name"),
        ("https://-a.b/", "host is no name"),
        ("https://a%2eb/", "host is no name"),
        ("https://" + "a" * 64 + ".com/", "host is no name"),
        ("https://1.2.3.4.5/", "host is no name"),
        ("https://1.2.3.256/", "host is no name"),
        ("https://0x100000000/", "host is no name"),
    ],
)
def test_what_is_no_clean_web_address_is_refused_with_its_reason(url, reason):
    with pytest.raises(AddressError, match=reason):
        split(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTPS://Medium.COM/A", "https://medium.com"),
        ("https://medium.com:443/", "https://medium.com"),
        ("http://medium.com:80/", "http://medium.com"),
        ("http://medium.com:443/", "http://medium.com:443"),
        ("https://medium.com./", "https://medium.com"),
        ("http://localhost:8080/x", "http://localhost:8080"),
        ("http://[0:0::1]:8080/", "http://[::1]:8080"),
        ("http://127.1/", "http://127.0.0.1"),
        ("http://2130706433/", "http://127.0.0.1"),
        ("http://0x7f000001/", "http://127.0.0.1"),
        ("http://0177.0.0.1/", "http://127.0.0.1"),
        ("http://0x7f.1/", "http://127.0.0.1"),
        ("https://bücher.example/", "https://xn--bcher-kva.example"),
        ("https://ｍedium.com/", "https://medium.com"),
        ("https://medium。com/", "https://medium.com"),
    ],
)
def test_an_origin_has_one_form_whatever_form_the_address_has(url, expected):
    assert origin(url) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://Medium.com", "https://medium.com/"),
        ("https://medium.com/a#top", "https://medium.com/a"),
        ("https://medium.com/a?", "https://medium.com/a"),
        ("https://medium.com/a?b=1&a=2", "https://medium.com/a?b=1&a=2"),
        ("https://medium.com/%7ea/%c3%a9", "https://medium.com/~a/%C3%A9"),
        ("https://medium.com/é", "https://medium.com/%C3%A9"),
        ("https://medium.com/100%", "https://medium.com/100%"),
        ("https://medium.com/a%2Fb", "https://medium.com/a%2Fb"),
        ("https://medium.com/@a/x-1", "https://medium.com/@a/x-1"),
        ("https://medium.com/x/../media/a", "https://medium.com/media/a"),
        ("https://medium.com/x/%2e%2E/media/a", "https://medium.com/media/a"),
        ("https://medium.com/./media/./a", "https://medium.com/media/a"),
        ("https://medium.com//media/a", "https://medium.com/media/a"),
        ("https://medium.com/.//x/..//media", "https://medium.com/media"),
        ("https://medium.com/../../media", "https://medium.com/media"),
        ("https://medium.com/a/b/..", "https://medium.com/a/"),
        ("https://medium.com/a/.", "https://medium.com/a/"),
        ("https://medium.com/a/..", "https://medium.com/"),
        ("https://medium.com/a//b/", "https://medium.com/a//b/"),
        ("https://medium.com/a/.../.b?c=/../d", "https://medium.com/a/.../.b?c=/../d"),
    ],
)
def test_two_forms_of_one_address_are_written_alike(url, expected):
    assert canonical(url) == expected


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_refused_and_its_one_form_stays(text):
    for url in (text, f"https://{text}", f"https://medium.com/{text}"):
        try:
            once = canonical(url)
        except AddressError:
            continue
        assert canonical(once) == once
        assert once.isascii()
        assert origin(once) == origin(url)


@pytest.mark.parametrize(
    "name",
    [
        *("127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("0.0.0.0", "100.64.0.1", "198.18.0.1", "224.0.0.1", "255.255.255.255"),
        *("240.0.0.1", "192.0.2.1"),
        *("[::1]", "::1", "[::]", "[fe80::1]", "fe80::1%eth0", "[fc00::1]", "[ff02::1]"),
        *("[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[2002:7f00:1::]", "[64:ff9b::a00:1]"),
        *("[2001:0:4136:e378:8000:63bf:f5ff:fffe]", "[2001:db8::1]"),
        *("localhost", "printer", "a.localhost", "db.internal", "nas.local", "router.lan"),
    ],
)
def test_an_address_of_ones_own_network_is_private(name):
    assert is_private(name)


@pytest.mark.parametrize(
    "name",
    ["8.8.8.8", "[2606:4700::6810:84e5]", "[::ffff:8.8.8.8]", "medium.com", "blog.example.com"],
)
def test_an_address_of_the_public_network_is_not_private(name):
    assert not is_private(name)


def test_a_server_has_http_and_https_and_this_machine_three_names():
    assert siblings("http://medium.com") == ("http://medium.com", "https://medium.com")
    assert siblings("https://medium.com:8443") == ("https://medium.com:8443",)
    assert siblings("http://127.0.0.1:80") == siblings("http://127.0.0.1:80")
    assert siblings("http://[::1]:8080") == (
        "http://[::1]:8080",
        "http://localhost:8080",
        "http://127.0.0.1:8080",
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://medium.com/@ann/x?y=a@b", "https://medium.com/@ann/x?y=a@b"),
        ("https://medium.com:port/@ann", "https://medium.com:port/@ann"),
        ("medium.com", "medium.com"),
        ("https://ann@medium.com/", "https://***@medium.com/"),
        ("https://ann:secret@medium.com/@ann", "https://***@medium.com/@ann"),
        ("https://ann:a@secret@medium.com/", "https://***@medium.com/"),
        ("https://ann:sec/ret@medium.com/", "https://***@medium.com/"),
        ("https://ann:sec?r#et@medium.com/", "https://***@medium.com/"),
        ("ann:secret@medium.com", "***@medium.com"),
        ("https:/ann:secret@medium.com", "https:/***@medium.com"),
        ("https:\\\\ann:secret@medium.com", "https:\\\\***@medium.com"),
        (" https://ann:sec ret@medium.com", " https://***@medium.com"),
    ],
)
def test_users_and_passwords_are_left_out_of_what_is_told_of_an_address(url, expected):
    assert redacted(url) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("https://medium.com", "medium.com"),
        ("http://medium.com", "medium.com"),
        ("https://ann.medium.com", "medium.com"),
        ("https://a.b.medium.com", "medium.com"),
        ("https://notmedium.com", "notmedium.com"),
        ("https://medium.com.example", "medium.com.example"),
        ("http://blog.example.com", "blog.example.com"),
        ("https://blog.example.com:8443", "blog.example.com:8443"),
        ("http://127.0.0.1:8080", "localhost:8080"),
        ("http://localhost", "localhost"),
    ],
)
def test_a_server_is_told_by_its_name_and_all_names_of_medium_are_one(host, expected):
    assert server(host) == expected
    assert {server(each) for each in siblings(host)} == {expected}


@pytest.mark.parametrize(
    "contact", ["a.b+c@mail.example.com", "https://example.com/bot", "http://example.com/~a?b=c"]
)
def test_a_mailbox_or_a_page_is_a_contact(contact):
    check_contact(contact)


@pytest.mark.parametrize(
    "contact",
    [
        *("me", "@", "a@b", "a b@example.com", "a@example.com\r\nX-Evil: 1", "a@example.com\n"),
        *("ftp://example.com", "https://example.com/)", "https://example.com/é", "https://"),
        *("https://example.com/ x", "mailto:a@example.com", "a@example.com,b@example.com"),
    ],
)
def test_what_is_no_contact_or_no_header_is_refused(contact):
    with pytest.raises(TagsageError, match=re.escape("neither a mail address nor")):
        check_contact(contact)


@pytest.mark.parametrize(
    ("header", "charset"),
    [
        ("text/html; charset=UTF-8", "utf-8"),
        ('text/html; charset="ISO-8859-1"; x=y', "iso-8859-1"),
        ("text/html", ""),
        ("text/html; charset=" + "x" * 50, "x" * 40),
    ],
)
def test_a_charset_is_read_from_the_header(header, charset):
    assert charset_of(header) == charset

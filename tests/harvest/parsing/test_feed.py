"""Feeds: what the fixtures leave open."""

import pytest

from tagsage.harvest.feed import parse_feed
from tagsage.harvest.records import PageError

URL = "https://medium.com/feed/@ann"
NESTED = "".join(
    f'<!ENTITY {name} "{f"&{inner};" * 10}">'
    for inner, name in zip("abcdefghi", "bcdefghij", strict=True)
)
ENTITIES = f'<!DOCTYPE rss [<!ENTITY a "lol">{NESTED}]>'


def feed(*items, before="", title="Ours"):
    inner = "".join(f"<item>{item}</item>" for item in items)
    return f"{before}<rss><channel><title>{title}</title>{inner}</channel></rss>"


@pytest.mark.parametrize(
    "body",
    [
        feed(before=ENTITIES, title="&j;").encode(),
        feed(before=ENTITIES).encode("utf-16"),
        feed(before=ENTITIES).encode("utf-32"),
        feed(before="<!-- <rss> -->" + ENTITIES, title="&j;").encode(),
        feed(before='<!doctype rss SYSTEM "http://127.0.0.1:1/x.dtd">').encode(),
        feed(
            before='<!-- <a> --><!DOCTYPE rss [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
        ).encode(),
    ],
)
def test_a_document_type_is_refused_however_it_is_hidden(body):
    with pytest.raises(PageError, match=r"^the feed has a document type$|^the feed is no XML"):
        parse_feed(body, URL)


@pytest.mark.parametrize(
    ("body", "url", "reason"),
    [
        (b"", URL, "the feed is no XML: Document is empty"),
        (b"\0", URL, "the feed"),
        (b"not XML", URL, "the feed's XML is broken: Start tag expected"),
        (b"<!doctype html><p>Sign in", URL, "this is no feed but HTML"),
        (b"<html/>", URL, "this is no feed: its root is html"),
        (b"<rss/>", URL, "the feed has no channel"),
        (b"<rss>" + b"<a/>" * 600_001, URL, "the feed may have more than 300,000 elements"),
        (feed().encode(), "feed", "the feed's address is no http or https URL"),
    ],
)
def test_what_is_no_feed_is_refused_with_the_reason(body, url, reason):
    with pytest.raises(PageError) as caught:
        parse_feed(body, url)
    assert str(caught.value).startswith(reason)


def test_only_the_first_thousand_items_are_read_and_that_is_told():
    items = [f"<link>https://a.example/{number}</link>" for number in range(1001)]
    read = parse_feed(feed(*items).encode(), URL)
    assert len(read.articles) == 1000
    assert read.damage == ("1 items after the first 1,000",)


@pytest.mark.parametrize(
    ("item", "key"),
    [
        ("<link>https://a.example/x?source=rss</link>", "a.example/x"),
        ("<link> https://a.example/x-c0ffee123456 </link>", "c0ffee123456"),
        ("<guid>https://medium.com/p/c0ffee123456</guid>", "c0ffee123456"),
        ("<link>no</link><guid>https://a.example/y</guid>", "a.example/y"),
        ("<link/><link>https://a.example/z</link>", "a.example/z"),
    ],
)
def test_an_item_s_key_comes_from_its_link_or_its_guid(item, key):
    assert [each.key for each in parse_feed(feed(item).encode(), URL).articles] == [key]


def test_slightly_broken_xml_is_read_and_told():
    read = parse_feed(feed("<title>A & B</title><link>https://a.example/x</link>").encode(), URL)
    assert len(read.articles) == 1
    assert read.articles[0].title is not None
    assert read.damage[0].startswith("the feed's XML is broken: ")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_a_feed_is_read_in_the_encoding_that_it_declares(encoding):
    declared = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>'
    body = feed(before=declared, title="Grüße").encode(encoding)
    assert parse_feed(body, URL).title == "Grüße"


def test_a_feed_in_an_unknown_encoding_is_read_as_utf_8_and_that_is_told():
    body = feed(before='<?xml version="1.0" encoding="klingon"?>', title="Grüße").encode()
    read = parse_feed(body, URL)
    assert (read.title, len(read.damage)) == ("Grüße", 1)


def test_rss_1_has_its_items_beside_the_channel():
    body = """<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
        xmlns="http://purl.org/rss/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/">
        <channel><title>Old</title></channel>
        <item><title>T</title><link>https://a.example/x</link><dc:date>2004-05-06</dc:date></item>
        </rdf:RDF>"""
    read = parse_feed(body.encode(), URL)
    assert (read.title, [each.published_ms for each in read.articles]) == ("Old", [1083801600000])

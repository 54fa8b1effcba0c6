"""What makes two addresses the same article."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.corpus.keys import article_key, parse_address

POST = "1a2b3c4d5e6f"


@pytest.mark.parametrize(
    "url",
    [
        f"https://medium.com/@ann/on-graphs-{POST}",
        f"http://medium.com/@ann/on-graphs-{POST}/",
        f"https://ann.medium.com/on-graphs-{POST}?source=rss#top",
        f"https://towardsdatascience.com/on-graphs-{POST}",
        f"https://blog.example.org/p/{POST}",
        f"https://medium.com/p/{POST}",
        f"https://medium.com/{POST}",
        f"https://medium.com/@ann/%E4%BD%A0-{POST}",
        f"  https://medium.com/p/{POST}\n",
        POST,
    ],
)
def test_a_medium_post_has_its_id_as_key_under_every_address(url):
    assert article_key(url) == POST


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://medium.com/@ann/in-digits-123456789012", "123456789012"),
        ("https://medium.com/@ann/eight-20210131", "20210131"),
        ("https://blog.example/in-digits-523456789012", "523456789012"),
        ("https://blog.example/p/523456789012", "523456789012"),
        ("https://blog.example/short-a1b2c3d4", "a1b2c3d4"),
    ],
)
def test_an_id_of_digits_alone_counts_where_it_looks_like_mediums(url, key):
    assert article_key(url) == key


@pytest.mark.parametrize(
    "path",
    [
        "news-20210131",  # a date
        "backup-202101312359",  # a time
        "article/12345678",  # running numbers
        "question-1234567890",
        "item/523456789012",
        "wiki/fabaceae",  # a word of hexadecimal letters
        "item/123e4567-e89b-12d3-a456-426614174000",  # a UUID
        "commit/0123456789abcdef0123456789abcdef01234567",
        "short-a1b2c3d",  # 7 digits
        "long-1a2b3c4d5e6f7",  # 13 digits
        "upper-1A2B3C4D5E6F",
        "glued1a2b3c4d5e6f",
        "1a2b3c4d5e6f/comments",
    ],
)
def test_a_path_that_only_resembles_a_post_id_is_kept_as_address(path):
    assert article_key(f"https://site.example/{path}") == f"site.example/{path}"


@pytest.mark.parametrize(
    ("url", "key", "shown"),
    [
        ("HTTP://Site.Example/A/b/?q=1#x", "site.example/A/b", "http://site.example/A/b/"),
        ("https://site.example", "site.example", "https://site.example"),
        ("https://site.example:443/a", "site.example/a", "https://site.example/a"),
        ("http://site.example:8080/a", "site.example:8080/a", "http://site.example:8080/a"),
        ("https://me:secret@site.example/a", "site.example/a", "https://site.example/a"),
        ("https://[::1]:81/a", "[::1]:81/a", "https://[::1]:81/a"),
        ("https://w.example/web/https://x.y/z", *["w.example/web/https://x.y/z"], ""),
        ("https://p.example/libstdc++6", "p.example/libstdc++6", "https://p.example/libstdc++6"),
    ],
)
def test_any_other_article_has_its_host_and_path_as_key(url, key, shown):
    assert article_key(url) == key
    assert parse_address(url).url == (shown or url)


@pytest.mark.parametrize(
    "text",
    ["", "  ", "https://", "https:///path", "ftp://site.example/a", "https://-/a", "a b", "/a/b",
     "https://si te.example/", "https://site.example/a b", "javascript://alert", "https://a\x00b/"],
)  # fmt: skip
def test_what_is_no_web_address_has_no_key(text):
    assert parse_address(text) is None
    with pytest.raises(ValueError, match="is not an http or https URL"):
        article_key(text)


URLS = st.one_of(
    st.text(max_size=40),
    st.builds(
        "{}{}{}{}{}".format,
        st.sampled_from(["http://", "https://", "HTTPS://", ""]),
        st.text("aB.-ß1_é", min_size=1, max_size=12),
        st.sampled_from(["", ":80", ":443", ":8080", ":"]),
        st.text("/-abcdef0123456789pZ%é.:@", max_size=30).map("/{}".format),
        st.sampled_from(["", "?q=1", "#x", "?a b"]),
    ),
)


@given(URLS)
def test_a_key_is_its_own_key_whatever_the_address(url):
    address = parse_address(url)
    if address is not None:
        assert article_key(address.key) == address.key
        assert article_key(address.url) == address.key
        assert parse_address(address.url).url == address.url

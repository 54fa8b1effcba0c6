"""Values out of pages: clean, or not at all."""

import pytest

from tagsage.harvest.page_values import (
    DateError,
    distinct,
    filled_line,
    milliseconds,
    one_line,
    origin,
    post_id,
    web_address,
)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("  two\n\twords\u00a0here ", "two words here"),
        ("", ""),
        ("\x00a\x1bb\x7f\x85\ud800c", "�a�b� �c"),
        ("\U0001f600", "\U0001f600"),
        ("<b>&amp;</b>", "<b>&amp;</b>"),
        (" " * 100 + "late", "late"),
        ("one two three four five six", "one two three four"),
        ("x" * 100, "x" * 20),
        (7, None),
        (None, None),
        (["a"], None),
    ],
)
def test_a_text_comes_out_on_one_short_line(value, line):
    assert one_line(value, 20) == line


def test_a_blank_line_is_none_where_it_has_to_be_filled():
    assert [filled_line(value, 20) for value in (" \n", "", None, " a ")] == [None, None, None, "a"]


def test_tags_are_distinct_lines_in_their_order():
    assert distinct(["b", " a ", 7, "", "b", "a", None]) == ("b", "a")


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (1_612_345_678_901, 1_612_345_678_901),
        (1_612_345_678_901.0, 1_612_345_678_901),
        ("1612345678901", 1_612_345_678_901),
        (" 1612345678901.0 ", 1_612_345_678_901),
        ("2019-05-01T10:20:30.999Z", 1_556_706_030_000),
        ("2019-05-01", 1_556_668_800_000),
        ("Wed, 01 May 2019 10:20:30 GMT", 1_556_706_030_000),
        (631_152_000_000, 631_152_000_000),
        (4_133_980_799_999, 4_133_980_799_999),
        (None, None),
        ("", None),
        (" \n", None),
    ],
)
def test_a_moment_in_any_form_is_milliseconds(value, moment):
    assert milliseconds(value) == moment


@pytest.mark.parametrize(
    "value",
    [
        True,
        0,
        -1,
        631_151_999_999,
        4_133_980_800_000,
        1_556_706_030,
        10**4000,
        float("nan"),
        float("inf"),
        "soon",
        "1" * 5000,
        "0001-01-01",
        [],
        {},
        "Mon, 1 Jan 99999999999999999999 10:00:00 GMT",
    ],
)
def test_what_is_no_moment_of_our_time_is_refused_with_the_reason(value):
    with pytest.raises(DateError, match=r" is no date from 1990 to 2100$"):
        milliseconds(value)


@pytest.mark.parametrize(
    "value",
    ["", "graphs", "//a.example/x", "ftp://a.example", "javascript:alert(1)", "https://", None, 7,
     "https://a.example/\ud800", "https://a.example/\x00", "https://a.example/" + "x" * 2000],
)  # fmt: skip
def test_what_is_no_web_address_is_none(value):
    assert web_address(value) is None


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://medium.com/@ann/list/x?y", "https://medium.com"),
        ("http://127.0.0.1:8000/a/b", "http://127.0.0.1:8000"),
        ("https://Medium.com", "https://medium.com"),
        ("pub.example", "https://pub.example"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        ("no host", ""),
    ],
)
def test_an_origin_is_where_a_host_s_paths_begin(url, found):
    assert origin(url) == found


def test_a_post_id_is_8_to_12_hexadecimal_digits():
    values = ["c0ffee123456", "c0ffee12", "c0ffee1", "C0FFEE12", "c0ffee1234567", "", None, 7]
    assert [post_id(value) for value in values] == ["c0ffee123456", "c0ffee12", *[None] * 6]

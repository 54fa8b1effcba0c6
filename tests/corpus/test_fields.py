"""Dates, tags and authors as files write them."""

from datetime import UTC, datetime

import pytest

from tagsage.corpus.fields import (
    FieldError,
    beginning,
    parse_author,
    parse_date,
    parse_python_authors,
    parse_python_tags,
    parse_tags,
)


def seconds(*moment):
    return int(datetime(*moment, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("", (1990, 1, 1)),
        ("null", (1990, 1, 1)),
        ("2019-05-01", (2019, 5, 1)),
        ("20190501", (2019, 5, 1)),
        ("2019-05-01T10:20:30Z", (2019, 5, 1, 10, 20, 30)),
        ("2019-05-01 10:20:30.999999", (2019, 5, 1, 10, 20, 30)),
        ("2019-05-01T10:20:30.000000000+02:00", (2019, 5, 1, 8, 20, 30)),
        ("2020-12-26 03:38:10.479000+00:00", (2020, 12, 26, 3, 38, 10)),
        ("1556706030000", (2019, 5, 1, 10, 20, 30)),
        ("1556706030999.0", (2019, 5, 1, 10, 20, 30)),
        ("1556706030", (2019, 5, 1, 10, 20, 30)),
        ("Wed, 01 May 2019 10:20:30 GMT", (2019, 5, 1, 10, 20, 30)),
        ("0001-01-01T00:00:00+10:00", None),
        ("1889-01-01T00:00:00.5", (1889, 1, 1)),
    ],
)
def test_a_date_in_any_known_form_becomes_seconds(text, moment):
    expected = seconds(1, 1, 1) - 36_000 if moment is None else seconds(*moment)
    assert parse_date(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "soon",
        "2019-13-01",
        "01.05.2019",
        "12",
        "99999999999999999",
        "Mon, 1 Jan 99999999999999999999 10:00:00 GMT",
        "Mon, 1 Jan 2020 10:00:00 +99999999999999999999",
    ],
)
def test_what_is_no_date_is_none(text):
    assert parse_date(text) is None


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("", []),
        ("[]", []),
        ("null", []),
        ('["a", "b", "a"]', ["a", "b"]),
        ('[" a ", "a", "", "  "]', ["a"]),
        ('["\\u05d0", "\\ud83d\\ude00"]', ["א", "😀"]),
    ],
)
def test_a_json_list_of_tags_is_read_without_repetitions(text, tags):
    assert parse_tags(text) == (tags, False)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('["a"', "tags are broken JSON"),
        ("['a']", "tags are broken JSON"),
        ("[" * 100_000, "tags are broken JSON"),
        ('{"a": 1}', "tags are not a list"),
        ('["a", 1]', "a tag is not a text"),
        ("[null]", "a tag is not a text"),
    ],
)
def test_tags_that_cannot_be_read_say_why(text, reason):
    with pytest.raises(FieldError, match=f"^{reason}$"):
        parse_tags(text)


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("[]", []),
        ("['Mental Health', 'Health']", ["Mental Health", "Health"]),
        ("""["Women's", 'He said "x"']""", ["Women's", 'He said "x"']),
    ],
)
def test_a_python_list_of_tags_is_read(text, tags):
    assert parse_python_tags(text) == (tags, False)


@pytest.mark.parametrize("text", ["['a'", "[f()]", "__import__('os')", "[" * 100_000, "1 +"])
def test_a_python_list_is_never_evaluated(text):
    with pytest.raises(FieldError, match="tags are not a Python list"):
        parse_python_tags(text)


def test_authors_as_a_python_list_are_joined():
    assert parse_python_authors("['Ann Lee', 'Bo Chen']") == "Ann Lee, Bo Chen"
    assert parse_python_authors("[]") == "Unknown"


@pytest.mark.parametrize("text", ["", " ", "null", "None", "nan"])
def test_a_null_author_is_unknown(text):
    assert parse_author(text) == "Unknown"
    assert parse_author(" Ann ") == "Ann"


def test_the_beginning_of_a_text_ends_with_a_whole_word():
    assert beginning("one  two\nthree", 9) == "one two"
    assert beginning("one two", 7) == "one two"
    assert beginning("one twofold", 7) == "one"
    assert beginning("x" * 20, 5) == "xxxxx"

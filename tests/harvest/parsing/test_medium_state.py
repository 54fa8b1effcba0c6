"""The state object: found, read and followed."""

import pytest

from tagsage.harvest.medium_state import (
    MediumState,
    attribute,
    find_state,
    is_field,
    read_json,
    reference,
)

NONE = (None, "")


@pytest.mark.parametrize(
    ("html", "objects"),
    [
        ('<script>window.__APOLLO_STATE__ = {"ROOT_QUERY":{}}</script>', {"ROOT_QUERY": {}}),
        ('window.__APOLLO_STATE__={"a":1};other()', {"a": 1}),
        ('window["__APOLLO_STATE__"]\n =\n\t{"a": 1 }', {"a": 1}),
        ("window['__APOLLO_STATE__'] = {\"a\":1}", {"a": 1}),
        ('__APOLLO_STATE__ = {"a":"\\u003c/script> <\\/script>"}', {"a": "</script> </script>"}),
        ('__APOLLO_STATE__ = {"a":"a line\nand a tab\t"}', {"a": "a line\nand a tab\t"}),
        ('__APOLLO_STATE__ = null; __APOLLO_STATE__ = {"a":1}', {"a": 1}),
        ('if (__APOLLO_STATE__ == {}) {}; __APOLLO_STATE__ = {"a":1}', {"a": 1}),
        (
            '<pre>__APOLLO_STATE__ = {"quoted":1}</pre>__APOLLO_STATE__ = {"ROOT_QUERY":{}}',
            {"ROOT_QUERY": {}},
        ),
    ],
)
def test_the_state_is_found_wherever_it_is_assigned(html, objects):
    state, damage = find_state(html)
    assert damage == ""
    assert state is not None
    assert state.objects == objects


@pytest.mark.parametrize(
    ("html", "damage"),
    [
        ("", ""),
        ("<script>var state = window.__APOLLO_STATE__ || {}</script>", ""),
        ('window.__APOLLO_STATE__ === {"a":1}', ""),
        ("__APOLLO_STATE__ = ", "the state object is broken: Expecting value at character 19"),
        ("__APOLLO_STATE__ = {a:1}", "the state object is broken: Expecting property name"),
        ('__APOLLO_STATE__ = {"a":', "the state object is broken: Expecting value at character 24"),
        ('__APOLLO_STATE__ = "text"', "the state object is no object"),
        ("__APOLLO_STATE__ = " + '{"a":' * 50_000, "broken: it is nested too deeply"),
        ("__APOLLO_STATE__ = " + "9" * 5_000, "broken: Exceeds the limit (4300 digits)"),
        ("__APOLLO_STATE__ = [" + "[]," * 300_000, "broken: it may have more than 300,000 parts"),
    ],
)
def test_a_page_without_a_readable_state_tells_why(html, damage):
    state, told = find_state(html)
    assert state is None
    assert damage in told
    assert bool(told) == bool(damage)


@pytest.mark.parametrize(
    ("value", "followed"),
    [
        ({"__ref": "Post:1"}, {"title": "One"}),
        ({"__ref": "first"}, {"title": "One"}),
        ({"inline": 1}, {"inline": 1}),
        ({"__ref": 7}, {"__ref": 7}),
        ({"__ref": "itself"}, None),
        ({"__ref": "there"}, None),
        ({"__ref": "nowhere"}, None),
        ({"__ref": "text"}, None),
        (None, None),
        ("Post:1", None),
        ([{"__ref": "Post:1"}], None),
    ],
)
def test_references_are_followed_to_an_object_or_none(value, followed):
    state = MediumState({
        "Post:1": {"title": "One"},
        "first": {"__ref": "second"},
        "second": {"__ref": "Post:1"},
        "itself": {"__ref": "itself"},
        "there": {"__ref": "back"},
        "back": {"__ref": "there"},
        "text": "no object",
    })
    assert state.follow(value) == followed


def test_a_field_is_found_with_whatever_arguments_it_was_asked():
    thing = {"name": None, 'name({"a":1})': "asked", "names": 1, "other:(limit:20)": "limited"}
    assert attribute(thing, "name") == "asked"
    assert attribute(thing, "other") == "limited"
    assert attribute(thing, "nothing") is None
    assert not is_field("names", "name")


def test_only_a_reference_to_the_kind_gives_an_id():
    assert reference({"__ref": "Tag:data-science"}, "Tag") == "data-science"
    assert [reference(value, "Tag") for value in ({"__ref": "Post:1"}, {}, None, 3)] == [""] * 4


def test_json_that_is_none_is_refused_with_the_reason():
    with pytest.raises(ValueError, match=r"^it is nested too deeply$"):
        read_json("[" * 100_000)
    with pytest.raises(ValueError, match=r"^Extra data at character 2$"):
        read_json("{}{}")

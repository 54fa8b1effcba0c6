"""Saved pages and the records that are expected of them."""

import json

import pytest

from tests.harvest.parsing.reading import CASES, FILES, FIXTURES, kind_of, outcome, saved


@pytest.mark.parametrize("case", CASES)
def test_a_saved_page_becomes_the_expected_record(case):
    body, url, cursor = saved(case)
    expected = json.loads((FIXTURES / case / "expected.json").read_text())
    assert outcome(kind_of(case), body, url, cursor) == expected


@pytest.mark.parametrize("case", CASES)
def test_every_folder_is_a_whole_case(case):
    files = {path.name for path in (FIXTURES / case).iterdir()}
    assert files == {FILES[kind_of(case)], "url.txt", "expected.json"}


def test_every_kind_of_page_has_cases():
    assert {kind_of(case) for case in CASES} == set(FILES)

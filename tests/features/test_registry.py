"""Blocks by name, and feature sets."""

from __future__ import annotations

import pytest

from tagsage.features import BLOCKS, blocks_of, list_free_set, needs_lists


def test_every_block_is_found_by_its_own_name():
    assert all(block.name == name for name, block in BLOCKS.items())


def test_feature_set_joins_the_blocks_that_it_names():
    assert blocks_of("text+lists+labels") == ("text", "lists", "labels")
    for wrong in ("", "txt", "text+text", "text+", "text, lists"):
        with pytest.raises(ValueError, match="is not made of some of words, "):
            blocks_of(wrong)


def test_feature_set_needs_lists_unless_an_article_in_none_has_all_its_blocks():
    assert [needs_lists(name) for name in ("text", "text+authors")] == [False, False]
    assert [needs_lists(name) for name in ("lists", "text+memberships", "fastrp")] == [True] * 3


def test_what_is_left_of_a_feature_set_without_lists_is_what_an_article_in_none_has():
    assert list_free_set("text+lists+authors") == "text+authors"
    assert list_free_set("lists+memberships") == ""

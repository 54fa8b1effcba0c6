"""What a token costs, and who says so."""

from __future__ import annotations

import pytest

from tagsage.embed.openai.prices import dollars, price_of
from tagsage.errors import TagsageError


def test_openai_costs_what_its_table_says_and_half_in_a_batch() -> None:
    assert price_of("text-embedding-ada-002", official=True) == pytest.approx(0.10)
    assert price_of("text-embedding-3-small", official=True, batch=True) == pytest.approx(0.01)


def test_the_users_price_outweighs_the_table() -> None:
    table = "text-embedding-ada-002=0.5,mine=2"
    assert price_of("text-embedding-ada-002", official=True, table=table) == pytest.approx(0.5)
    assert price_of("mine", official=False, table=table, batch=True) == pytest.approx(1.0)


def test_another_server_costs_nothing_unless_the_user_says_so() -> None:
    assert price_of("nomic-embed-text", official=False) == pytest.approx(0.0)
    assert price_of("text-embedding-ada-002", official=False) == pytest.approx(0.0)


def test_an_unknown_model_at_openai_is_refused_with_the_remedy() -> None:
    with pytest.raises(TagsageError, match=r"set openai_prices=text-embedding-9=DOLLARS"):
        price_of("text-embedding-9", official=True)


def test_prices_are_for_a_million_tokens() -> None:
    assert dollars(1_500_000, 0.10) == pytest.approx(0.15)

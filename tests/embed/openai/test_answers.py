"""What a server answers is believed only as far as it can be right."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.embed.openai.answers import (
    MISSING,
    NO_VECTOR,
    NOT_FINITE,
    TWICE,
    ZERO,
    BrokenAnswerError,
    read_answer,
)

A, B, C = [1.0, 2.0], [3.0, 4.0], [5.0, 6.0]


def body(*items: tuple[int | None, Any], tokens: Any = 7) -> bytes:
    data = [
        {"object": "embedding", "embedding": vector} | ({} if index is None else {"index": index})
        for index, vector in items
    ]
    answer = {"object": "list", "data": data, "model": "m"}
    return json.dumps(
        answer | ({} if tokens is None else {"usage": {"total_tokens": tokens}})
    ).encode()


def in_base64(vector: list[float]) -> str:
    return base64.b64encode(np.array(vector, dtype="<f4").tobytes()).decode()


def test_vectors_are_put_in_the_order_of_their_indices_in_either_encoding() -> None:
    for encode in (list, in_base64):
        answer = read_answer(
            body((2, encode(C)), (0, encode(A)), (1, encode(B))), expected=3, dimensions=2
        )
        np.testing.assert_array_equal(answer.good, [0, 1, 2])
        np.testing.assert_array_equal(answer.vectors, np.array([A, B, C], dtype=np.float32))
        assert answer.vectors.dtype == np.float32
        assert answer.bad == {}
        assert answer.tokens == 7


def test_without_indices_the_order_counts_when_nothing_is_missing() -> None:
    answer = read_answer(body((None, A), (None, B)), expected=2, dimensions=2)
    np.testing.assert_array_equal(answer.vectors, [A, B])
    with pytest.raises(BrokenAnswerError, match="1 vectors without numbers for 2 texts"):
        read_answer(body((None, A)), expected=2, dimensions=2)


def test_a_gap_in_the_indices_tells_which_is_missing() -> None:
    answer = read_answer(body((0, A), (2, C)), expected=3, dimensions=2)
    np.testing.assert_array_equal(answer.good, [0, 2])
    assert answer.bad == {1: MISSING}


def test_too_few_without_a_gap_are_not_believed() -> None:
    # The second may be missing, and the third have moved up.
    with pytest.raises(BrokenAnswerError, match="2 vectors for 3 texts, and no gap"):
        read_answer(body((0, A), (1, C)), expected=3, dimensions=2)


def test_an_index_given_twice_is_believed_neither_time() -> None:
    answer = read_answer(body((0, A), (0, B), (2, C)), expected=3, dimensions=2)
    assert answer.bad == {0: TWICE, 1: MISSING}
    np.testing.assert_array_equal(answer.good, [2])


def test_one_too_many_is_left_out() -> None:
    answer = read_answer(body((0, A), (1, B), (2, C)), expected=2, dimensions=2)
    np.testing.assert_array_equal(answer.vectors, [A, B])
    assert answer.bad == {}


@pytest.mark.parametrize(
    ("vector", "why"),
    [
        ([1.0, float("nan")], NOT_FINITE),
        ([1.0, float("inf")], NOT_FINITE),
        ([1.0, 1e300], NOT_FINITE),
        ([0.0, 0.0], ZERO),
        ([1.0], "its vector has another length: 1 instead of 2"),
        ([1.0, 2.0, 3.0], "its vector has another length: 3 instead of 2"),
        ([], NO_VECTOR),
        ([[1.0, 2.0]], NO_VECTOR),
        (["a", "b"], NO_VECTOR),
        (None, NO_VECTOR),
        ("not base64!", NO_VECTOR),
        ("AAA=", NO_VECTOR),
        (in_base64([float("nan"), 1.0]), NOT_FINITE),
    ],
)
def test_a_bad_vector_spoils_only_its_own_text(vector: Any, why: str) -> None:
    answer = read_answer(body((0, A), (1, vector)), expected=2, dimensions=2)
    np.testing.assert_array_equal(answer.vectors, [A])
    assert answer.bad == {1: why}


def test_the_first_vector_tells_the_length_when_nobody_knows() -> None:
    answer = read_answer(body((0, [1.0, 2.0, 3.0])), expected=1, dimensions=None)
    assert answer.vectors.shape == (1, 3)


def test_vectors_that_are_all_of_one_other_length_are_another_models() -> None:
    answer = read_answer(body((0, [1.0] * 3), (1, [2.0] * 3)), expected=2, dimensions=2)
    assert answer.other_length == 3
    assert len(answer.good) == 0
    one = read_answer(body((0, A), (1, [2.0] * 3)), expected=2, dimensions=2)
    assert one.other_length is None


@pytest.mark.parametrize("tokens", [None, 0, -3, True, "seven"])
def test_a_usage_that_makes_no_sense_is_as_none(tokens: Any) -> None:
    assert read_answer(body((0, A), tokens=tokens), expected=1, dimensions=2).tokens is None


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b'{"data": {}}', b"<html>", b'"data"'])
def test_what_is_no_answer_is_refused_as_a_whole(text: bytes) -> None:
    with pytest.raises(BrokenAnswerError):
        read_answer(text, expected=1, dimensions=2)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 5) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["index", "embedding", "usage", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=4), JSON)
def test_whatever_comes_every_text_is_either_good_or_bad(data: list[Any], usage: Any) -> None:
    text = json.dumps({"data": data, "usage": usage})
    try:
        answer = read_answer(text, expected=3, dimensions=2)
    except BrokenAnswerError:
        return
    assert sorted([*answer.good.tolist(), *answer.bad]) == [0, 1, 2]
    assert answer.vectors.shape == (len(answer.good), 2)
    assert np.isfinite(answer.vectors).all()

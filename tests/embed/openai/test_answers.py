"""Answers are taken as far as they are sound."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.embed.openai.answers import BrokenAnswerError, read_answer
from tagsage.errors import NonRetryableError

TWO = [[1.0, 2.0], [3.0, 4.0]]


def body(vectors, usage=None, numbers=None):
    numbers = numbers or range(len(vectors))
    data = [{"index": n, "embedding": v} for n, v in zip(numbers, vectors, strict=True)]
    return {"data": data, "usage": usage or {"total_tokens": 7}}


@pytest.mark.parametrize(
    "parsed",
    [
        body(TWO),
        body(TWO[::-1], numbers=[1, 0]),
        body([base64.b64encode(np.array(v, "<f4").tobytes()).decode() for v in TWO]),
        {"data": [{"embedding": v} for v in TWO], "usage": {"total_tokens": 7}},
    ],
    ids=["lists", "shuffled", "base64", "not numbered"],
)
def test_vectors_come_in_the_order_of_the_texts(parsed):
    answer = read_answer(parsed, expected=2, dimensions=2)
    assert (answer.places.tolist(), answer.vectors.tolist()) == ([0, 1], TWO)
    assert (answer.bad, answer.tokens) == ({}, 7)


@pytest.mark.parametrize(
    ("vector", "why"),
    [
        ([1.0, float("nan")], "not finite"),
        ([1.0, 1e39], "not finite"),
        ([0.0, 0.0], "zero"),
        (None, "not a vector"),
        ("AAAA", "not a vector"),
        ("!", "not a vector"),
        ([[1.0], [2.0]], "not a vector"),
        (["a", "b"], "not a vector"),
    ],
)
def test_unsound_vector_is_refused_and_the_others_are_taken(vector, why):
    answer = read_answer(body([TWO[0], vector]), expected=2, dimensions=2)
    assert answer.places.tolist() == [0]
    assert list(answer.bad) == [1]
    assert why in answer.bad[1]


@pytest.mark.parametrize(
    ("parsed", "why"),
    [
        (None, "no list of vectors"),
        ({"data": [1, 2]}, "no list of vectors"),
        (body(TWO[:1]), "1 vectors for 2 texts"),
        (body(TWO, numbers=[0, 0]), "not numbered"),
        (body(TWO, numbers=[0, "1"]), "not numbered"),
    ],
)
def test_answer_in_which_it_is_not_clear_which_vector_is_whose_is_broken(parsed, why):
    with pytest.raises(BrokenAnswerError, match=why):
        read_answer(parsed, expected=2, dimensions=2)


@pytest.mark.parametrize("dimensions", [3, None])
def test_vector_of_another_length_ends_it_at_once(dimensions):
    with pytest.raises(NonRetryableError, match="The server gives vectors of"):
        read_answer(body([[1.0, 2.0], [1.0]]), expected=2, dimensions=dimensions)


@pytest.mark.parametrize("usage", [{"total_tokens": "7"}, {"total_tokens": -1}, {"x": 1}, {}])
def test_tokens_that_the_server_does_not_say_are_none(usage):
    parsed = body(TWO) | {"usage": usage}
    assert read_answer(parsed, expected=2, dimensions=2).tokens == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "index", "embedding", "usage"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_read_or_refused(parsed):
    json.dumps(parsed)
    try:
        answer = read_answer(parsed, expected=1, dimensions=2)
    except (BrokenAnswerError, NonRetryableError):
        return
    assert len(answer.places) + len(answer.bad) == 1
    assert np.isfinite(answer.vectors).all()

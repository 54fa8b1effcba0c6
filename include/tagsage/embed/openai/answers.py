"""What the API answers, read with distrust: count, order, length and numbers are checked."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic_core import from_json

MISSING = "the server left its vector out"
TWICE = "the server gave it two vectors"
NO_VECTOR = "what the server gave is no vector"
WRONG_LENGTH = "its vector has another length"
NOT_FINITE = "its vector holds a number that is not finite"
ZERO = "its vector is zero"


class BrokenAnswerError(ValueError):
    """An answer of which nothing can be used."""


@dataclass(frozen=True)
class Answer:
    """What can be used of an answer.

    Attributes
    ----------
    good : intp array, shape [m]
        Positions, in the request, of the texts that have a sound vector; ascending.
    vectors : float32 array, shape [m, d]
        Their vectors, as the server gave them.
    bad : dict of int to str
        Positions of the others, and what is wrong.
    tokens : int or None
        What was charged; None when the server does not say.
    other_length : int or None
        The length of all its vectors, where that is not the one expected: another model's.
    """

    good: npt.NDArray[np.intp]
    vectors: npt.NDArray[np.float32]
    bad: dict[int, str]
    tokens: int | None
    other_length: int | None = None


def read_answer(body: bytes | str, *, expected: int, dimensions: int | None) -> Answer:
    """Read the body of an answer to a request for embeddings.

    Parameters
    ----------
    body : bytes or str
        JSON, as in https://developers.openai.com/api/reference/resources/embeddings; vectors in
        base64 (little-endian float32) or as lists.
    expected : int
        Texts in the request.
    dimensions : int or None
        Numbers in a vector; None takes the length of the first.

    Returns
    -------
    Answer
        What can be used of it.

    Raises
    ------
    BrokenAnswerError
        When it is no such answer at all.
    """
    try:
        parsed = from_json(body)
    except ValueError as error:
        raise BrokenAnswerError(f"the answer is not JSON: {error}") from None
    return read_parsed(parsed, expected=expected, dimensions=dimensions)


def read_parsed(parsed: Any, *, expected: int, dimensions: int | None) -> Answer:
    """Read an answer that is parsed already; see :func:`read_answer`."""
    data = parsed.get("data") if isinstance(parsed, dict) else None
    if not isinstance(data, list):
        raise BrokenAnswerError("the answer holds no list of vectors")
    bad: dict[int, str] = {}
    found: dict[int, npt.NDArray[np.float32]] = {}
    lengths = set()
    for position, item in _by_position(data, expected):
        if position in found or position in bad:
            found.pop(position, None)
            bad[position] = TWICE
            continue
        vector = _vector(item)
        if vector is None:
            bad[position] = NO_VECTOR
            continue
        if dimensions is None:
            dimensions = len(vector)
        lengths.add(len(vector))
        if len(vector) != dimensions:
            bad[position] = f"{WRONG_LENGTH}: {len(vector)} instead of {dimensions}"
        else:
            found[position] = vector
    bad |= {place: MISSING for place in range(expected) if place not in found and place not in bad}
    good = np.array(sorted(found), dtype=np.intp)
    vectors = np.empty((len(good), dimensions or 0), dtype=np.float32)
    for row, position in enumerate(good.tolist()):
        vectors[row] = found[position]
    finite: npt.NDArray[np.bool_] = np.asarray(np.isfinite(vectors).all(axis=1))
    sound: npt.NDArray[np.bool_] = np.logical_and(finite, vectors.any(axis=1))
    for row in np.flatnonzero(~sound).tolist():
        bad[int(good[row])] = ZERO if finite[row] else NOT_FINITE
    other = lengths.pop() if len(lengths) == 1 and dimensions not in lengths else None
    return Answer(good[sound], vectors[sound], bad, _tokens(parsed), other)


def _by_position(data: list[Any], expected: int) -> list[tuple[int, Any]]:
    """Return the items with their places in the request; those of no place are left out."""
    if not any(isinstance(item, dict) and "index" in item for item in data):
        # Some servers do not number: then order counts, if nothing is missing.
        if len(data) != expected:
            msg = f"the answer holds {len(data)} vectors without numbers for {expected} texts"
            raise BrokenAnswerError(msg)
        return list(enumerate(data))
    numbered = [(item.get("index"), item) for item in data if isinstance(item, dict)]
    placed = [
        (index, item)
        for index, item in numbered
        if isinstance(index, int) and not isinstance(index, bool) and 0 <= index < expected
    ]
    places = {index for index, _ in placed}
    if len(places) < expected and places == set(range(len(places))):
        # Without a gap, nobody knows whether the last is missing or all after another moved up.
        msg = f"the answer holds {len(places)} vectors for {expected} texts, and no gap"
        raise BrokenAnswerError(msg)
    return placed


def _vector(item: Any) -> npt.NDArray[np.float32] | None:
    """Return the vector of an item, in either encoding; None when there is none."""
    numbers = item.get("embedding") if isinstance(item, dict) else None
    if isinstance(numbers, str):
        try:
            content = base64.b64decode(numbers, validate=True)
        except (binascii.Error, ValueError):
            return None
        if not content or len(content) % 4:
            return None
        return np.frombuffer(content, dtype="<f4").astype(np.float32, copy=False)
    if not isinstance(numbers, list) or not numbers:
        return None
    try:
        # A number beyond float32 becomes infinite, which is found out later.
        with np.errstate(over="ignore"):
            vector = np.array(numbers, dtype=np.float64).astype(np.float32)
    except (TypeError, ValueError, OverflowError):
        return None
    return vector if vector.ndim == 1 else None


def _tokens(parsed: dict[str, Any]) -> int | None:
    usage = parsed.get("usage")
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
    if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens <= 0:
        return None
    return tokens

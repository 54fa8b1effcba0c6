"""The API's answers, not trusted: count, order, length and numbers are checked."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tagsage.errors import NonRetryableError


class BrokenAnswerError(ValueError):
    """An answer of which nothing can be used."""


@dataclass(frozen=True)
class Answer:
    """What can be used of an answer; `places` are positions of texts with a valid vector."""

    places: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.float32]
    bad: dict[int, str]  # position -> reason
    tokens: int  # 0: the server does not say


def read_answer(parsed: Any, *, expected: int, dimensions: int | None) -> Answer:
    """Read an answer to a request for embeddings, in base64 (little-endian float32) or as lists.

    The format is that of https://developers.openai.com/api/reference/resources/embeddings. Without
    `dimensions`, the first vector's length counts. Raises `BrokenAnswerError` when it isn't clear
    which vector belongs to which text, and `NonRetryableError` when a vector has another length, so
    that another model answers.
    """
    data = parsed.get("data") if isinstance(parsed, dict) else None
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise BrokenAnswerError("the answer holds no list of vectors")
    if len(data) != expected:
        raise BrokenAnswerError(f"the answer holds {len(data)} vectors for {expected} texts")
    # Some servers send no index: then order counts.
    order = [item.get("index", place) for place, item in enumerate(data)]
    if sorted(order, key=str) != sorted(range(expected), key=str):
        raise BrokenAnswerError("the vectors of the answer are not numbered as the texts are")
    found: dict[int, npt.NDArray[np.float32]] = {}
    bad: dict[int, str] = {}
    for place, item in zip(order, data, strict=True):
        vector = _vector(item.get("embedding"))
        if vector is None:
            bad[place] = "what the server gave is not a vector"
            continue
        dimensions = dimensions or len(vector)
        if len(vector) != dimensions:
            msg = (
                f"The server gives vectors of {len(vector)} numbers, not of {dimensions}; correct "
                "openai_model or openai_dimensions, or remove the vectors of the earlier model "
                "(tagsage vectors prune)."
            )
            raise NonRetryableError(msg)
        if not np.isfinite(vector).all():
            bad[place] = "its vector holds a number that is not finite"
        elif not vector.any():
            bad[place] = "its vector is zero"
        else:
            found[place] = vector
    places = np.array(sorted(found), dtype=np.int64)
    vectors = np.array([found[place] for place in places.tolist()], dtype=np.float32)
    return Answer(places, vectors.reshape(len(places), dimensions or 0), bad, _tokens(parsed))


def _vector(numbers: Any) -> npt.NDArray[np.float32] | None:
    """Return a vector in either encoding; None when it is not one."""
    try:
        if isinstance(numbers, str):
            vector = np.frombuffer(base64.b64decode(numbers, validate=True), dtype="<f4")
        elif isinstance(numbers, list):
            # A number beyond float32 becomes infinite, which is checked later.
            with np.errstate(over="ignore"):
                vector = np.array(numbers, dtype=np.float64).astype(np.float32)
        else:
            return None
    except (binascii.Error, TypeError, ValueError, OverflowError):
        return None
    return vector.astype(np.float32) if vector.ndim == 1 and len(vector) else None


def _tokens(parsed: dict[str, Any]) -> int:
    usage = parsed.get("usage")
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
    return tokens if type(tokens) is int and tokens > 0 else 0

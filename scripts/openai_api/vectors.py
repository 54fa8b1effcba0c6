"""Vectors that a test can foretell, and how they travel."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

MODELS: Mapping[str, int] = {
    "text-embedding-ada-002": 1536,
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
}
Mode = Literal["hash", "words"]

# Every number is a multiple of this, so that nine decimals say it exactly.
GRID = 1_000_000_000
BLOCK_TEXTS = 256
_WORD = re.compile(r"\w+")
_THOUSAND = np.array([f"{number:03d}".encode() for number in range(1000)], dtype="S3")


def count_tokens(text: str) -> int:
    """Return the number of tokens the server counts: one for every four bytes begun."""
    return (len(text.encode("utf-8", "replace")) + 3) // 4


def expected_vector(
    text: str, model: str, dimensions: int = 0, mode: Mode = "hash"
) -> NDArray[np.float32]:
    """Return the vector that the server answers for a text; see :func:`expected_vectors`."""
    vector: NDArray[np.float32] = expected_vectors([text], model, dimensions, mode)[0]
    return vector


def expected_vectors(
    texts: Sequence[str], model: str, dimensions: int = 0, mode: Mode = "hash"
) -> NDArray[np.float32]:
    """Return the vectors that the server answers.

    Parameters
    ----------
    texts : sequence of str
        The exact texts; length n.
    model : str
        Name of the model.
    dimensions : int
        Numbers in a vector, d; 0: the model's own. As with the real models, a shorter vector is
        the beginning of the longer one, made to unit length again.
    mode : {"hash", "words"}
        hash: any two texts are nearly orthogonal; words: the sum of the vectors of the words,
        longer words weighing more, so that texts that share words are near each other.

    Returns
    -------
    float32 [n, d]
        Of unit length; every number is the nearest to a multiple of 1e-9.
    """
    d = dimensions or MODELS[model]
    vectors = np.empty((len(texts), d), dtype=np.float32)
    raw = _raw_of_words if mode == "words" else _raw
    for start in range(0, len(texts), BLOCK_TEXTS):
        block = raw(texts[start : start + BLOCK_TEXTS], model, d)
        # Whole numbers below 2^53: the sum is exact in any order, so one text alone gives
        # what it gives in a block.
        norms = np.sqrt(np.einsum("ij,ij->i", block, block))
        np.multiply(block, (GRID / norms)[:, None], out=block)
        np.rint(block, out=block)
        vectors[start : start + BLOCK_TEXTS] = block / GRID
    return vectors


def _raw(texts: Sequence[str], model: str, d: int) -> NDArray[np.float64]:
    """Whole numbers in [-32768, 32767] that depend on model and text, float64 [n, d]."""
    prefix = hashlib.sha256(model.encode() + b"\0")
    keys = np.empty(len(texts), dtype=np.uint64)
    for position, text in enumerate(texts):
        digest = prefix.copy()
        digest.update(text.encode("utf-8", "surrogatepass"))
        keys[position] = int.from_bytes(digest.digest()[:8], "little")
    # SplitMix64 (Steele, Lea, Flood 2014), at all places of the sequence at once.
    places = np.arange(1, (d + 3) // 4 + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    bits = keys[:, None] + places
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    raw: NDArray[np.float64] = bits.view("<i2")[:, :d].astype(np.float64)
    return raw


def _raw_of_words(texts: Sequence[str], model: str, d: int) -> NDArray[np.float64]:
    words = [_WORD.findall(text.lower()) for text in texts]
    # A text without any word is its own word.
    words = [found or [text] for found, text in zip(words, texts, strict=True)]
    vocabulary = sorted({word for found in words for word in found})
    row_of = {word: row for row, word in enumerate(vocabulary)}
    rows = _raw(vocabulary, model, d)
    raw = np.empty((len(texts), d))
    for position, found in enumerate(words):
        weights = np.array([min(len(word), 10) for word in found], dtype=np.float64)
        # einsum, not BLAS: exact all the same, and no threads for so little.
        raw[position] = np.einsum("w,wd->d", weights, rows[[row_of[word] for word in found]])
    return raw


def encode(
    vectors: NDArray[np.float32], encoding_format: Literal["float", "base64"]
) -> list[bytes]:
    """Return each vector as a JSON value: a list of numbers, or a base64 string of float32.

    Parameters
    ----------
    vectors : float32 [n, d]
        Finite, at most 1 in size; anything else goes the slow way, as Python writes it.
    encoding_format : {"float", "base64"}
        As in the request.
    """
    if encoding_format == "base64":
        little = np.ascontiguousarray(vectors, dtype="<f4")
        return [b'"' + base64.b64encode(row) + b'"' for row in little]
    if not np.isfinite(vectors).all() or vectors.size == 0 or np.abs(vectors).max() >= 1:
        return [json.dumps(row.tolist()).encode() for row in vectors]
    parts: list[bytes] = []
    for start in range(0, len(vectors), BLOCK_TEXTS):
        parts += _decimals(vectors[start : start + BLOCK_TEXTS])
    return parts


def _decimals(vectors: NDArray[np.float32]) -> list[bytes]:
    """Write numbers as ``-0.012345678,``; three million by ``repr`` would take seconds."""
    n, d = vectors.shape
    whole = np.rint(vectors.astype(np.float64) * GRID).astype(np.int64)
    size = np.abs(whole)
    text = np.empty((n, d, 13), dtype=np.uint8)
    text[:, :, 0] = np.where(whole < 0, ord("-"), ord(" "))
    text[:, :, 1:3] = np.frombuffer(b"0.", dtype=np.uint8)
    for place, power in ((3, 1_000_000), (6, 1_000), (9, 1)):
        digits = _THOUSAND[size // power % 1000]
        text[:, :, place : place + 3] = digits.view(np.uint8).reshape(n, d, 3)
    text[:, :, 12] = ord(",")
    return [b"[" + row.tobytes()[:-1] + b"]" for row in text]


TokenCounter = Callable[[str], int]
JsonObject = dict[str, Any]

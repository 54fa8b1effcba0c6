"""The text of an article that is embedded, and the hash that names it in the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

HASH_DTYPE: Final = np.dtype("S32")


def article_texts(articles: pd.DataFrame) -> list[str]:
    """Return each article's title and subtitle, joined by a space; empty for stubs."""
    title = articles["title"].fillna("").astype(str).str.strip()
    subtitle = articles["subtitle"].fillna("").astype(str).str.strip()
    text = (title + " " + subtitle).str.strip()
    texts: list[str] = text.where(~articles["is_stub"].astype(bool), "").tolist()
    return texts


def text_hash(text: str) -> bytes:
    """Return the first 128 bits of the SHA-256 of a text, as 32 hexadecimal digits."""
    # Lone surrogates come from bad escapes in sources; they must not stop the run here.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32].encode()


EMPTY_HASH: Final = text_hash("")


def text_hashes(texts: Sequence[str]) -> NDArray[np.bytes_]:
    """Return each text's :func:`text_hash`, as S32 [n].

    Hexadecimal digits rather than raw bytes, because numpy drops trailing NUL bytes.
    """
    return np.array([text_hash(text) for text in texts], dtype=HASH_DTYPE)


def unique_texts(hashes: NDArray[Any]) -> NDArray[np.int64]:
    """Return the row of each non-empty text's first occurrence, ascending, by their hashes."""
    _, first = np.unique(hashes, return_index=True)
    first = np.sort(first).astype(np.int64)
    kept: NDArray[np.int64] = first[hashes[first] != EMPTY_HASH]
    return kept

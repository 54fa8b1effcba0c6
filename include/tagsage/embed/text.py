"""What of an article is embedded, and the hash that names a text in the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

HASH_DTYPE: Final = np.dtype("S32")


def article_texts(articles: pd.DataFrame) -> list[str]:
    """Return the text of each article that is embedded: its title and its subtitle.

    Parameters
    ----------
    articles : pandas.DataFrame
        Columns ``title``, ``subtitle`` (str; null counts as empty) and ``is_stub`` (bool).

    Returns
    -------
    list of str
        One text an article, in row order: title and subtitle joined by a space, without space
        around; empty for stubs and for articles without title and subtitle.
    """
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
    """Hash texts: equal texts, and only they, have equal hashes.

    Parameters
    ----------
    texts : sequence of str, length n
        The exact texts.

    Returns
    -------
    numpy.ndarray of S32, shape (n,)
        See :func:`text_hash`. Hexadecimal digits rather than raw bytes, because numpy drops
        trailing NUL bytes.
    """
    return np.array([text_hash(text) for text in texts], dtype=HASH_DTYPE)


def unique_texts(hashes: NDArray[Any]) -> NDArray[np.int64]:
    """Return the rows of the first occurrence of every text that is not empty, ascending.

    Parameters
    ----------
    hashes : numpy.ndarray of S32, shape (n,)
        From :func:`text_hashes`.

    Returns
    -------
    numpy.ndarray of int64
        Row numbers.
    """
    _, first = np.unique(hashes, return_index=True)
    first = np.sort(first).astype(np.int64)
    kept: NDArray[np.int64] = first[hashes[first] != EMPTY_HASH]
    return kept

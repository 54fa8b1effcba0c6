"""Families of near-copies: articles that are too much alike to count as independent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

IntArray = npt.NDArray[np.int64]

# A word that more words follow says nothing about a family: how, the, python.
MOST_FOLLOWERS = 20


def families(titles: Sequence[str], texts: Sequence[str], authors: Sequence[str]) -> IntArray:
    """Return the number of each article's family, [n], counted in order of first appearance.

    Two articles are of one family when their texts are the same, digits and punctuation aside, or
    when they are by the same author and their titles have the same stem (:func:`title_stems`); and
    when others join them. An empty text or author joins nothing.
    """
    same_text = _codes(_letters(texts))
    author = _codes(pa.array(authors, type=pa.large_string()))
    stem = title_stems(titles)
    by_author = pd.factorize(author * (stem.max(initial=0) + 1) + stem)[0]
    by_author[(author < 0) | (stem < 0)] = -1
    n = len(same_text)
    # A node for each article, for each text, and for each stem of an author.
    nodes = np.concatenate([same_text, np.where(by_author < 0, -1, by_author + n)])
    articles = np.tile(np.arange(n), 2)[nodes >= 0]
    joined = sp.coo_array(
        (np.ones(len(articles)), (articles, nodes[nodes >= 0] + n)), shape=(3 * n, 3 * n)
    )
    _, component = connected_components(joined, directed=False)
    return pd.factorize(component[:n])[0].astype(np.int64)


def title_stems(titles: Sequence[str]) -> IntArray:
    """Return a number for each title's stem, [n]; -1 for a title without letters.

    The stem is the first word, digits aside, that at most `MOST_FOLLOWERS` different words follow
    in some title; where there is none, it is the whole title.
    """
    cleaned = _letters(titles)
    words: Any = pc.utf8_split_whitespace(cleaned)
    word = _codes(words.flatten())
    row = np.repeat(np.arange(len(titles)), np.asarray(pc.list_value_length(words)))
    follows = row[1:] == row[:-1]
    pairs = pd.DataFrame({"word": word[:-1][follows], "next": word[1:][follows]})
    followers = np.bincount(pairs.drop_duplicates()["word"], minlength=word.max(initial=0) + 1)
    own = (word >= 0) & (followers[word] <= MOST_FOLLOWERS)
    rows, places = np.unique(row[own], return_index=True)
    stems = _codes(cleaned)
    stems[stems >= 0] += len(followers)
    stems[rows] = word[own][places]
    return stems


def _letters(texts: Sequence[str]) -> Any:
    """Return texts in lower case with all but letters and blanks left out."""
    lower = pc.utf8_lower(pa.array(list(texts), type=pa.large_string()))
    without_digits = pc.replace_substring_regex(lower, r"\p{N}+", "")
    return pc.utf8_trim_whitespace(
        pc.replace_substring_regex(without_digits, r"[^\p{L}\p{M}]+", " ")
    )


def _codes(texts: Any) -> IntArray:
    """Return a number for each text, by first appearance; -1 for an empty one."""
    found = pc.dictionary_encode(texts)
    codes: IntArray = found.indices.to_numpy().astype(np.int64)
    codes[codes == pc.index(found.dictionary, "").as_py()] = -1
    return codes

"""How many tokens a text has, without the model's vocabulary, and texts cut to the limit.

The models count tokens of a byte-level encoding (cl100k_base): no token is shorter than a byte of
UTF-8, so the number of bytes is never too low. Ordinary text has about four characters a token; the
estimate is meant to be a little high.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# https://developers.openai.com/api/reference/resources/embeddings/methods/create
MAX_INPUT_TOKENS = 8192
MAX_REQUEST_TEXTS = 2048
# A text of fewer characters is not cut: it cannot be its length that a server minds.
LEAST_CUT = 100
# A request may have 300,000; this leaves room for what the estimate may be wrong by.
REQUEST_TOKENS = 250_000

_SURROGATES = re.compile(r"[\ud800-\udfff]")
# What an encoding cuts text into before it looks for tokens, coarsely; a token never spans two.
_PIECES = re.compile(r"[^\W\d_]+|\d{1,3}|\s+|[^\w\s]|_", re.ASCII)
_LETTERS_A_TOKEN = 5


@dataclass(frozen=True)
class Prepared:
    """Texts as they are sent.

    Attributes
    ----------
    texts : list of str, length n
        Without lone surrogates, and none too long.
    estimates : int64 array, shape [n]
        Tokens, estimated.
    bounds : int64 array, shape [n]
        Tokens, never fewer than there are.
    cut : bool array, shape [n]
        Which texts were cut.
    """

    texts: list[str]
    estimates: npt.NDArray[np.int64]
    bounds: npt.NDArray[np.int64]
    cut: npt.NDArray[np.bool_]


def prepare(texts: Sequence[str]) -> Prepared:
    """Make texts fit to be sent, and count their tokens.

    Parameters
    ----------
    texts : sequence of str, length n
        The exact texts; none is empty.

    Returns
    -------
    Prepared
        What is sent.
    """
    sent = [sendable(text) for text in texts]
    return Prepared(
        [text for text, _ in sent],
        np.array([estimate_tokens(text) for text, _ in sent], dtype=np.int64),
        np.array([token_bound(text) for text, _ in sent], dtype=np.int64),
        np.array([cut for _, cut in sent], dtype=bool),
    )


def token_bound(text: str) -> int:
    """Return a number of tokens that a text does not exceed: its bytes."""
    return len(text) if text.isascii() else len(text.encode())


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text has, rather too many than too few.

    Examples
    --------
    >>> estimate_tokens("Enhancing Word Embedding with Graph Neural Networks")
    14
    """
    tokens = 0
    for piece in _PIECES.findall(text):
        if not piece.isascii():
            continue
        # A space belongs to the word that follows.
        tokens += 0 if piece == " " else -(-len(piece) // _LETTERS_A_TOKEN)
    if not text.isascii():
        # Letters of other scripts have one to three tokens.
        tokens += sum(max(1, len(letter.encode()) - 1) for letter in text if not letter.isascii())
    return max(tokens, 1)


def sendable(text: str) -> tuple[str, bool]:
    """Return a text as it is sent, and whether it had to be cut.

    It is cut between characters, so that its estimate is within the limit of one input. Lone
    surrogates, which no JSON may hold, become U+FFFD.
    """
    text = _SURROGATES.sub("\ufffd", text)
    # Most texts are short beyond doubt.
    if len(text) * 4 <= MAX_INPUT_TOKENS or token_bound(text) <= MAX_INPUT_TOKENS:
        return text, False
    if estimate_tokens(text) <= MAX_INPUT_TOKENS:
        return text, False
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if estimate_tokens(text[:middle]) <= MAX_INPUT_TOKENS:
            fits = middle
        else:
            too_long = middle
    return text[:fits], True


def cut_further(text: str) -> str:
    """Return the beginning of a text that a server found too long, against the estimate.

    Half of it; first of all, though, what OpenAI cannot find too long, whatever it holds. Models
    of other servers may take far less. A short text comes back as it is.
    """
    half = text[: len(text) // 2]
    if token_bound(text) > MAX_INPUT_TOKENS >= token_bound(half):
        return text.encode()[:MAX_INPUT_TOKENS].decode(errors="ignore")
    return half if len(half) >= LEAST_CUT else text

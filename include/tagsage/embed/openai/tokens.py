"""Tokens of a text (estimated, rather too many than too few), their price, and cut texts.

Ordinary text has about four characters per token, and no token is shorter than a byte.
"""

from __future__ import annotations

import re

from tagsage.errors import NonRetryableError
from tagsage.settings.embed import EmbedSettings

# https://developers.openai.com/api/reference/resources/embeddings/methods/create
MAX_INPUT_TOKENS = 8192
# A request may have 300,000; this leaves room for errors of the estimate.
MAX_REQUEST_TOKENS = 250_000

# US dollars per million tokens, online: https://developers.openai.com/api/docs/pricing
PRICES = {
    "text-embedding-ada-002": 0.10,
    "text-embedding-3-small": 0.02,
    "text-embedding-3-large": 0.13,
}
# The Batch API's discount: https://developers.openai.com/api/docs/guides/batch
BATCH_SHARE = 0.5

_SURROGATES = re.compile(r"[\ud800-\udfff]")
# Roughly how an encoding splits text before it looks for tokens; no token spans two parts.
_PIECES = re.compile(r"[^\W\d_]+|\d{1,3}|\s+|[^\w\s]|_", re.ASCII)
_LETTERS_PER_TOKEN = 5


def estimate_tokens(text: str) -> int:
    """Return an estimate of a text's tokens, rather too many than too few."""
    tokens = 0
    for piece in _PIECES.findall(text):
        # A space belongs to the word that follows.
        if piece.isascii() and piece != " ":
            tokens += -(-len(piece) // _LETTERS_PER_TOKEN)
    if not text.isascii():
        # Letters of other scripts have one to three tokens.
        tokens += sum(max(1, len(letter.encode()) - 1) for letter in text if not letter.isascii())
    return max(tokens, 1)


def sendable(text: str) -> tuple[str, bool]:
    """Return a text as it is sent (no lone surrogates), and whether it was cut to the limit."""
    text = _SURROGATES.sub("\ufffd", text)
    # Most texts are surely short enough: a character has four bytes at most.
    if len(text) * 4 <= MAX_INPUT_TOKENS or estimate_tokens(text) <= MAX_INPUT_TOKENS:
        return text, False
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if estimate_tokens(text[:middle]) <= MAX_INPUT_TOKENS:
            fits = middle
        else:
            too_long = middle
    return text[:fits], True


def price_of(settings: EmbedSettings, *, official: bool, batch: bool = False) -> float:
    """Return the price of the settings' model in US dollars per million tokens.

    Servers that aren't OpenAI's are free, unless the settings give a price. Raises
    `NonRetryableError` when the price of OpenAI's model is not known.
    """
    model = settings.openai_model
    corrected = dict(pair.split("=", 1) for pair in settings.openai_prices.split(",") if pair)
    if model in corrected:
        price = float(corrected[model])
    elif not official:
        return 0.0
    elif model in PRICES:
        price = PRICES[model]
    else:
        msg = (
            f"The price of {model} is not known, so no ceiling could hold; set "
            f"openai_prices={model}=DOLLARS, per million tokens."
        )
        raise NonRetryableError(msg)
    return price * BATCH_SHARE if batch else price


def dollars_of(tokens: int, price: float) -> float:
    """Return the cost of tokens at a price per million."""
    return tokens * price / 1_000_000

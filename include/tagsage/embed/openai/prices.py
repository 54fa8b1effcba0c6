"""What a token costs."""

from __future__ import annotations

from tagsage.errors import TagsageError

# US dollars a million tokens, on line: https://developers.openai.com/api/docs/pricing
PRICES = {
    "text-embedding-ada-002": 0.10,
    "text-embedding-3-small": 0.02,
    "text-embedding-3-large": 0.13,
}
# The Batch API's discount: https://developers.openai.com/api/docs/guides/batch
BATCH_SHARE = 0.5


def price_of(model: str, *, official: bool, table: str = "", batch: bool = False) -> float:
    """Return the price of a model.

    Parameters
    ----------
    model : str
        Its name.
    official : bool
        Whether OpenAI itself is asked; other servers cost nothing unless `table` says so.
    table : str
        The user's corrections: ``model=dollars a million tokens``, separated by commas.
    batch : bool
        Whether the Batch API is used, which costs half.

    Returns
    -------
    float
        US dollars a million tokens.

    Raises
    ------
    TagsageError
        When OpenAI is asked for a model whose price is not known.

    Examples
    --------
    >>> price_of("text-embedding-3-large", official=True, batch=True)
    0.065
    """
    corrected = dict(pair.split("=", 1) for pair in table.split(",") if pair)
    if model in corrected:
        price = float(corrected[model])
    elif not official:
        return 0.0
    elif model in PRICES:
        price = PRICES[model]
    else:
        msg = (
            f"The price of {model} is not known, so no ceiling could hold; set "
            f"openai_prices={model}=DOLLARS, a million tokens."
        )
        raise TagsageError(msg)
    return price * BATCH_SHARE if batch else price


def dollars(tokens: int, price: float) -> float:
    """Return what tokens cost at a price a million."""
    return tokens * price / 1_000_000

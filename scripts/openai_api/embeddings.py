"""POST /v1/embeddings without the connection: what is asked, what is answered, what is spoilt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from scripts.openai_api.faults import Faults
from scripts.openai_api.vectors import (
    MODELS,
    JsonObject,
    Mode,
    TokenCounter,
    count_tokens,
    encode,
    expected_vectors,
)

Support = Literal["full", "ignored", "refused"]


class ApiError(Exception):
    """A refusal, in the words of the API."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error: JsonObject = {"message": message, "type": kind, "param": param, "code": code}
        self.headers = dict(headers or {})


@dataclass(frozen=True)
class Dialect:
    """What a server of this API can do, and what it takes at most; the defaults are OpenAI's.

    Attributes
    ----------
    api_key : str, optional
        The only key that is let in; None: any, or none at all.
    echo_key : bool
        Whether a refusal repeats the whole key, where OpenAI repeats its ends.
    models : mapping
        Name -> numbers in its vectors.
    any_model : int
        When not 0, every other name is a model of that length too.
    vectors : {"hash", "words"}
        See :func:`scripts.openai_api.vectors.expected_vectors`.
    base64, dimensions : {"full", "ignored", "refused"}
        What becomes of these parameters.
    usage : bool
        Whether answers count tokens.
    plain_errors : bool
        Whether an error is ``{"error": "text"}`` instead of OpenAI's object.
    max_inputs, max_input_tokens, max_request_tokens : int
        Limits of one request.
    count_tokens : callable
        Text -> tokens.
    """

    api_key: str | None = field(default=None, repr=False)
    echo_key: bool = False
    models: Mapping[str, int] = field(default_factory=lambda: dict(MODELS))
    any_model: int = 0
    vectors: Mode = "hash"
    base64: Support = "full"
    dimensions: Support = "full"
    usage: bool = True
    plain_errors: bool = False
    max_inputs: int = 2048
    max_input_tokens: int = 8192
    max_request_tokens: int = 300_000
    count_tokens: TokenCounter = count_tokens


@dataclass(frozen=True)
class Wanted:
    """A request that was found right."""

    model: str
    dimensions: int
    texts: list[str]
    encoding: Literal["float", "base64"]
    tokens: int


@dataclass(frozen=True)
class Answer:
    """The body of an answer; `why` and `spoilt` say what is wrong with it."""

    body: bytes
    why: str = ""
    spoilt: Sequence[str] = ()


def check_request(body: object, dialect: Dialect) -> Wanted:
    """Check a request as OpenAI does.

    Raises
    ------
    ApiError
        With the status, message and code that OpenAI answers.
    """
    if not isinstance(body, dict):
        raise ApiError(400, "We could not parse the JSON body of your request.")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise ApiError(400, "you must provide a model parameter")
    own = dialect.models.get(model, dialect.any_model)
    if not own:
        raise ApiError(
            404,
            f"The model `{model}` does not exist or you do not have access to it.",
            code="model_not_found",
        )
    encoding = body.get("encoding_format", "float")
    if encoding not in {"float", "base64"}:
        raise ApiError(
            400,
            f"Invalid value: '{encoding}'. Supported values are: 'float' and 'base64'.",
            param="encoding_format",
            code="invalid_value",
        )
    if encoding == "base64" and dialect.base64 == "refused":
        raise ApiError(400, "encoding_format base64 is not supported", param="encoding_format")
    if dialect.base64 == "ignored":
        encoding = "float"
    texts, tokens = _check_input(body.get("input"), dialect)
    return Wanted(model, _dimensions(body, model, own, dialect), texts, encoding, tokens)


def _dimensions(body: Mapping[str, Any], model: str, own: int, dialect: Dialect) -> int:
    wanted = body.get("dimensions")
    if wanted is None or dialect.dimensions == "ignored":
        return own
    if dialect.dimensions == "refused" or model.endswith("ada-002"):
        raise ApiError(
            400, "This model does not support specifying dimensions.", param="dimensions"
        )
    if not isinstance(wanted, int) or isinstance(wanted, bool) or not 1 <= wanted <= own:
        raise ApiError(
            400,
            f"Invalid value for 'dimensions' = {wanted!r}. Must be between 1 and {own}.",
            param="dimensions",
        )
    return wanted


def _check_input(given: object, dialect: Dialect) -> tuple[list[str], int]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(texts) or not _all_text(texts):
        message = (
            "'$.input' is invalid. Please check the API reference: "
            "https://platform.openai.com/docs/api-reference."
        )
        raise ApiError(400, message)
    if len(texts) > dialect.max_inputs:
        raise ApiError(
            400,
            f"Invalid 'input': array too long. Expected an array with maximum length "
            f"{dialect.max_inputs}, but got an array with length {len(texts)} instead.",
            param="input",
            code="array_above_max_length",
        )
    tokens = [dialect.count_tokens(text) for text in texts]
    if max(tokens) > dialect.max_input_tokens:
        raise ApiError(
            400,
            f"This model's maximum context length is {dialect.max_input_tokens} tokens, however "
            f"you requested {max(tokens)} tokens ({max(tokens)} in your prompt; 0 for the "
            "completion). Please reduce your prompt; or completion length.",
        )
    if sum(tokens) > dialect.max_request_tokens:
        raise ApiError(
            400,
            f"Invalid 'input': maximum request size is {dialect.max_request_tokens} tokens per "
            f"request; you requested {sum(tokens)} tokens.",
            kind="max_tokens_per_request",
            code="max_tokens_per_request",
        )
    return texts, sum(tokens)


def _all_text(texts: Sequence[object]) -> bool:
    return all(isinstance(text, str) for text in texts)


def build_answer(wanted: Wanted, dialect: Dialect, faults: Faults, at: Mapping[int, str]) -> Answer:
    """Compute the answer to a request, with the faults it is to have.

    Parameters
    ----------
    wanted : Wanted
        The request.
    dialect : Dialect
        How the server speaks.
    faults : Faults
        Where random choices come from.
    at : mapping
        Position of an item -> what becomes of it: one of ``faults.ITEMS``.
    """
    n = len(wanted.texts)
    vectors = expected_vectors(wanted.texts, wanted.model, wanted.dimensions, dialect.vectors)
    for position, fault in at.items():
        if fault == "zero":
            vectors[position] = 0
        elif fault in {"nan", "infinity"}:
            number = faults.choose(wanted.dimensions)
            vectors[position, number] = np.nan if fault == "nan" else np.inf
    odd = [position for position, fault in at.items() if fault in {"nan", "infinity"}]
    values = _encode_apart(vectors, odd, wanted.encoding)
    items: list[tuple[int, bytes]] = list(enumerate(values))
    spoilt = {position for position, fault in at.items() if fault in {"zero", "nan", "infinity"}}
    for position, fault in at.items():
        if fault == "wrong_length":
            items[position] = (position, encode(vectors[[position], :-1], wanted.encoding)[0])
            spoilt.add(position)
        elif fault == "duplicate_index":
            if n == 1:
                items.append(items[0])
            else:
                other = (position + 1) % n
                items[position] = (other, values[position])
                spoilt |= {position, other}
        elif fault == "additional_item":
            items.append((n, values[position]))
    gone = [position for position, fault in at.items() if fault in {"missing_item", "wrong_count"}]
    items = [item for place, item in enumerate(items) if place not in gone]
    spoilt |= set(gone)
    kinds = set(at.values())
    if "wrong_count" in kinds:
        items = [(place, value) for place, (_, value) in enumerate(items)]
        spoilt = set(range(n))
    if "wrong_order" in kinds:
        items = [items[place] for place in faults.shuffled(len(items))]
    form = b'{"object":"embedding","index":%d,"embedding":%b}'
    if "no_index" in kinds:
        written = [b'{"object":"embedding","embedding":%b}' % value for _, value in items]
    else:
        written = [form % item for item in items]
    tail: JsonObject = {"model": wanted.model}
    if dialect.usage:
        tail["usage"] = {"prompt_tokens": wanted.tokens, "total_tokens": wanted.tokens}
    body = b'{"object":"list","data":[%b],%b' % (
        b",".join(written),
        json.dumps(tail)[1:].encode(),
    )
    why = ", ".join(sorted(kinds - {"wrong_order", "no_index"}))
    return Answer(body, why, [wanted.texts[position] for position in sorted(spoilt)])


def _encode_apart(
    vectors: np.ndarray, odd: Sequence[int], encoding: Literal["float", "base64"]
) -> list[bytes]:
    """Encode the vectors with an odd number one by one, which is slow, and the rest together."""
    tame = vectors.copy() if odd else vectors
    for position in odd:
        tame[position] = 0
    values = encode(tame, encoding)
    for position in odd:
        values[position] = encode(vectors[[position]], encoding)[0]
    return values

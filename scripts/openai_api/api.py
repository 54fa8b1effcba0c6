"""The API's paths and what they do, apart from the connection they come in on."""

from __future__ import annotations

import json
import math
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

from scripts.openai_api.batches import Batches, BatchRules
from scripts.openai_api.books import Books
from scripts.openai_api.embeddings import ApiError, Dialect, Wanted, build_answer, check_request
from scripts.openai_api.faults import ITEMS, PACE, REFUSALS, TRANSPORT, Faults
from scripts.openai_api.files import Files
from scripts.openai_api.limits import Buckets
from scripts.openai_api.vectors import JsonObject

HTML_503 = (
    b"<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n"
    b"<body><center><h1>503 Service Temporarily Unavailable</h1></center></body>\r\n</html>\r\n"
)
GARBAGE = b"\xff\xfe{]upstream connect error, reset reason: overflow"


class ResetConnectionError(Exception):
    """The connection is to be reset without an answer."""


@dataclass
class Request:
    """One request, read whole."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Reply:
    """One answer, and how it is to be maltreated on its way.

    Attributes
    ----------
    body : bytes or pathlib.Path
        The content, or the file that holds it.
    charge : int
        Its number in the books; -1: nothing was charged.
    texts : int
        How many texts were asked for.
    fault : str, optional
        One of ``faults.TRANSPORT`` or ``faults.PACE``.
    """

    status: int
    body: bytes | Path
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    charge: int = -1
    texts: int = 0
    fault: str | None = None


class Api:
    """Everything a server is, but its socket.

    Parameters
    ----------
    dialect : Dialect
        How it speaks.
    faults : Faults
        How it misbehaves.
    buckets : Buckets, optional
        Its rate limit; None: no limit, and no headers about one.
    quota_tokens : int, optional
        How many tokens the account may use at all; None: any number.
    latency_s : float
        How long an embedding takes beside the computing.
    books : Books
        Where charges are entered.
    files : Files
        Of the account.
    rules : BatchRules
        Limits and paces of batches.
    """

    def __init__(
        self,
        dialect: Dialect,
        faults: Faults,
        buckets: Buckets | None,
        quota_tokens: int | None,
        latency_s: float,
        books: Books,
        files: Files,
        rules: BatchRules,
    ) -> None:
        self.dialect = dialect
        self.faults = faults
        self.buckets = buckets
        self.quota_tokens = quota_tokens
        self.latency_s = latency_s
        self.books = books
        self.stopping = threading.Event()
        self._quota_lock = threading.Lock()
        self._used_tokens = books.tokens
        self.files = files
        self.batches = Batches(rules, dialect, faults, files, self.charge, books.bad)

    def answer(self, request: Request) -> Reply:
        """Answer a request.

        Raises
        ------
        ResetConnectionError
            When there is to be no answer.
        """
        headers = {
            "x-request-id": f"req_{secrets.token_hex(16)}",
            "openai-version": "2020-10-01",
        }
        started = time.monotonic()
        try:
            self._let_in(request)
            reply = self._route(request, headers)
        except ApiError as refusal:
            reply = self._refusal(refusal)
        reply.headers = {**headers, **reply.headers}
        reply.headers["openai-processing-ms"] = str(int((time.monotonic() - started) * 1000))
        return reply

    def _refusal(self, refusal: ApiError) -> Reply:
        if refusal.status == 503:
            return Reply(503, HTML_503, refusal.headers, content_type="text/html")
        error: object = refusal.error
        if self.dialect.plain_errors:
            error = refusal.error["message"]
        return Reply(refusal.status, json.dumps({"error": error}).encode(), refusal.headers)

    def _let_in(self, request: Request) -> None:
        if self.dialect.api_key is None:
            return
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise ApiError(
                401,
                "You didn't provide an API key. You need to provide your API key in an "
                "Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
            )
        key = key.strip()
        if not secrets.compare_digest(key.encode(), self.dialect.api_key.encode()):
            shown = key if self.dialect.echo_key else f"{key[:8]}{'*' * 8}{key[-4:]}"
            raise ApiError(
                401,
                f"Incorrect API key provided: {shown}. You can find your API key at "
                "https://platform.openai.com/account/api-keys.",
                code="invalid_api_key",
            )

    def _route(self, request: Request, headers: dict[str, str]) -> Reply:
        parts = request.path.strip("/").split("/")
        match (request.method, parts):
            case ("POST", ["v1", "embeddings"]):
                return self._embeddings(request, headers)
            case ("GET", ["v1", "models"]):
                return json_reply({
                    "object": "list",
                    "data": [
                        {"id": name, "object": "model", "created": 0, "owned_by": "test"}
                        for name in self.dialect.models
                    ],
                })
            case (_, ["v1", "files", *rest]):
                return self._files(request, rest)
            case (_, ["v1", "batches", *rest]):
                return self._batches(request, rest)
        raise _no_such_path(request)

    def _files(self, request: Request, rest: list[str]) -> Reply:
        endpoint = "upload" if request.method == "POST" else "files"
        fault = self.draw("content" if rest[1:] == ["content"] else endpoint)
        match (request.method, rest):
            case ("POST", []):
                kind = request.headers.get("content-type", "")
                reply = json_reply(self.files.upload(request.body, kind))
            case ("GET", []):
                reply = json_reply(self.files.listed(request.query))
            case ("GET", [identifier]):
                reply = json_reply(self.files.get(identifier).shown)
            case ("DELETE", [identifier]):
                reply = json_reply(self.files.delete(identifier))
            case ("GET", [identifier, "content"]):
                path = self.files.get(identifier).path
                reply = Reply(200, path, content_type="application/octet-stream")
            case _:
                raise _no_such_path(request)
        reply.fault = fault
        return reply

    def _batches(self, request: Request, rest: list[str]) -> Reply:
        creates = request.method == "POST" and not rest
        fault = self.draw("batch_create" if creates else "batches")
        match (request.method, rest):
            case ("POST", []):
                body = parse_json(request.body)
                reply = json_reply(self.batches.create(body, fails=fault == "failed"))
            case ("GET", []):
                reply = json_reply(self.batches.listed(request.query))
            case ("GET", [identifier]):
                reply = json_reply(self.batches.get(identifier))
            case ("POST", [identifier, "cancel"]):
                reply = json_reply(self.batches.cancel(identifier))
            case _:
                raise _no_such_path(request)
        reply.fault = None if fault == "failed" else fault
        return reply

    # -- faults ----------------------------------------------------------------------------

    def draw(self, endpoint: str) -> str | None:
        """Draw a fault; refuse the request when it is a refusal.

        Raises
        ------
        ApiError, ResetConnectionError
            The refusal.
        """
        fault = self.faults.draw(endpoint)
        if fault in REFUSALS:
            self.refuse(fault)
        return fault

    def refuse(self, fault: str) -> None:
        """Raise a refusal by its name in ``faults.REFUSALS``."""
        if fault == "reset_before":
            raise ResetConnectionError
        if fault == "quota":
            raise quota_used_up()
        if fault.startswith("429"):
            wait, style = self.faults.retry_after_s, fault.partition("_")[2]
            raise ApiError(
                429,
                "Rate limit reached for requests. Please try again later.",
                kind="requests",
                code="rate_limit_exceeded",
                headers=retry_headers(wait, style),
            )
        messages = {
            "400": "The request was refused on purpose.",
            "401": "Incorrect API key provided.",
            "403": "Country, region, or territory not supported",
            "404": "The model does not exist or you do not have access to it.",
        }
        if fault in messages:
            raise ApiError(int(fault), messages[fault])
        message = "The server had an error while processing your request. Sorry about that!"
        raise ApiError(int(fault), message, kind="server_error")

    # -- embeddings ------------------------------------------------------------------------

    def _embeddings(self, request: Request, headers: dict[str, str]) -> Reply:
        fault = self.draw("embeddings")
        wanted = check_request(parse_json(request.body), self.dialect)
        if self.buckets is not None:
            wait, name, told = self.buckets.take(wanted.tokens)
            headers.update(told)
            if wait > 0:
                raise self._limited(wait, name, wanted)
        at = self.faults.of_texts(wanted.texts)
        refusals = [told for told in at.values() if told in REFUSALS]
        if refusals:
            self.refuse(refusals[0])
        fault = next((told for told in at.values() if told in TRANSPORT + PACE), fault)
        at = {position: told for position, told in at.items() if told in ITEMS}
        if fault in ITEMS:
            at.setdefault(self.faults.choose(len(wanted.texts)), fault)
        self.stopping.wait(self.latency_s)
        answer = build_answer(wanted, self.dialect, self.faults, at)
        charge = self.charge("online", wanted)
        if answer.why:
            self.books.bad(charge, answer.why, answer.spoilt)
        told_fault = fault if fault in TRANSPORT + PACE else None
        return Reply(200, answer.body, charge=charge, texts=len(wanted.texts), fault=told_fault)

    def charge(self, kind: str, wanted: Wanted) -> int:
        """Charge an answer and return its number in the books.

        Raises
        ------
        ApiError
            When the quota does not cover it; nothing is charged then.
        """
        with self._quota_lock:
            if (
                self.quota_tokens is not None
                and self._used_tokens + wanted.tokens > self.quota_tokens
            ):
                raise quota_used_up()
            self._used_tokens += wanted.tokens
            return self.books.charge(
                kind, wanted.model, wanted.dimensions, wanted.texts, wanted.tokens
            )

    def _limited(self, wait: float, name: str, wanted: Wanted) -> ApiError:
        asked = wanted.tokens if name == "tokens" else 1
        limit = getattr(self.buckets.limit, name) if self.buckets is not None else 0
        if math.isinf(wait):
            return ApiError(
                429,
                f"Request too large for {wanted.model} on {name} per min: Limit {limit}, "
                f"Requested {asked}. The input must be reduced in order to run successfully.",
                kind=name,
                code="rate_limit_exceeded",
            )
        return ApiError(
            429,
            f"Rate limit reached for {wanted.model} on {name} per min: Limit {limit}, "
            f"Requested {asked}. Please try again in {math.ceil(wait * 1000)}ms.",
            kind=name,
            code="rate_limit_exceeded",
            headers={
                **retry_headers(math.ceil(wait), ""),
                **retry_headers(wait, "ms"),
            },
        )


def _no_such_path(request: Request) -> ApiError:
    return ApiError(404, f"Invalid URL ({request.method} {request.path})")


def quota_used_up() -> ApiError:
    """Return the refusal of an account without money."""
    return ApiError(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        kind="insufficient_quota",
        code="insufficient_quota",
    )


def retry_headers(wait_s: float, style: str) -> dict[str, str]:
    """Say how long to wait: "" in seconds, "ms", as a "date", or not at all ("bare")."""
    if style == "ms":
        return {"retry-after-ms": str(math.ceil(wait_s * 1000))}
    if style == "date":
        return {"retry-after": formatdate(math.ceil(time.time() + wait_s), usegmt=True)}
    return {} if style == "bare" else {"retry-after": f"{wait_s:g}"}


def json_reply(body: JsonObject) -> Reply:
    """Return an answer that is well."""
    return Reply(200, json.dumps(body).encode())


def parse_json(body: bytes) -> object:
    """Read the body of a request.

    Raises
    ------
    ApiError
        When it is not JSON.
    """
    try:
        return json.loads(body)
    except ValueError as error:
        message = "We could not parse the JSON body of your request. (HINT: not valid JSON.)"
        raise ApiError(400, message) from error

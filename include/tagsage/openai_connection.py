"""The connection to OpenAI's API: which server, its clients, and their errors translated."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tagsage.errors import NonRetryableError, TagsageError
from tagsage.redact import redact

if TYPE_CHECKING:
    import openai

OFFICIAL = "https://api.openai.com/v1"
CONNECT_WITHIN_S = 10.0
# The SDK doubles the wait before each, up to 8 s, or waits as long as the server says.
RETRIES = 8
# Codes of a 429 that waiting does not help: the account is used up.
NO_QUOTA = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
_NO_RETRY = {"x-should-retry": "false"}

_HOW = "set OPENAI_API_KEY, or the Airflow connection openai_default"

Provider = Callable[[], "OpenAiConnection | None"]
# What is asked before the environment: in Airflow, its connections.
_provider: Provider | None = None


@dataclass(frozen=True)
class OpenAiConnection:
    """The server's address and our account; secrets are in no text form of it.

    `options` are further arguments of the SDK's client, such as ``organization``.
    """

    api_key: str = field(default="", repr=False)  # empty where the server needs none
    base_url: str = OFFICIAL  # ends with the version: ``…/v1``
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            # Not the text itself: it may hold a secret.
            msg = (
                "The base URL of the OpenAI server must be http:// or https:// followed by a host, "
                "as http://127.0.0.1:11434/v1; correct OPENAI_BASE_URL or openai_default."
            )
            raise TagsageError(msg)
        if parts.username is not None or parts.password is not None or parts.query:
            msg = (
                "The base URL of the OpenAI server holds credentials or a query, and URLs are "
                "shown to people; put the key into OPENAI_API_KEY instead."
            )
            raise TagsageError(msg)
        object.__setattr__(self, "base_url", self.base_url.rstrip("/"))

    @property
    def official(self) -> bool:
        """Whether it is OpenAI itself, where every token costs money."""
        # Its regions have their own hosts, such as eu.api.openai.com.
        host = f".{urlsplit(self.base_url).hostname}".rstrip(".")
        return host.endswith(f".{urlsplit(OFFICIAL).hostname}")

    def client(self, *, timeout_s: float) -> openai.OpenAI:
        """Return a client, to be closed by the caller; it retries as the SDK does.

        Raises `TagsageError` for OpenAI without a key, or when the SDK refuses the options.
        """
        import openai

        options = {"max_retries": RETRIES, **self.options}
        if "workload_identity" not in options:
            if not self.api_key and self.official:
                raise NonRetryableError(f"OpenAI wants a key; {_HOW}.")
            # The SDK needs one, and a server that needs none accepts any.
            options["api_key"] = self.api_key or "none"
        timeout = openai.Timeout(timeout_s, connect=min(CONNECT_WITHIN_S, timeout_s))
        options |= {"base_url": self.base_url, "timeout": timeout}
        try:
            return openai.OpenAI(**options, http_client=_http_client(self.base_url, timeout))
        except TypeError as error:
            # It names the argument, not its value.
            msg = (
                f"The OpenAI client does not take what openai_client_kwargs says ({error}); "
                "correct the Airflow connection openai_default."
            )
            raise TagsageError(msg) from None


def _http_client(base_url: str, timeout: openai.Timeout) -> openai.DefaultHttpxClient:
    """Return an HTTP client that keeps the SDK from retrying where that cannot help."""
    import httpx2
    import openai

    class _Client(openai.DefaultHttpxClient):
        def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
            try:
                response = super().send(request, **options)
            except (httpx2.ReadTimeout, httpx2.WriteTimeout):
                # The server may still be working on it: the caller sends less next time.
                return httpx2.Response(408, headers=_NO_RETRY, request=request)
            if response.status_code == 429:
                response.read()
                if any(code in response.text for code in NO_QUOTA):
                    response.headers.update(_NO_RETRY)
            return response

    return _Client(base_url=base_url, timeout=timeout)


def provide_openai_connection(provider: Provider) -> None:
    """Use the connection that `provider` returns, if any, rather than the environment's."""
    global _provider
    _provider = provider


def resolve_openai_connection() -> OpenAiConnection:
    """Return the connection from a provider, else from the environment.

    ``OPENAI_API_KEY`` and ``OPENAI_BASE_URL`` are read, and by the SDK ``OPENAI_ORG_ID`` and
    ``OPENAI_PROJECT_ID``. Raises `TagsageError` when the address is invalid.
    """
    if _provider and (connection := _provider()) is not None:
        return connection
    return OpenAiConnection(
        os.environ.get("OPENAI_API_KEY", "").strip(),
        os.environ.get("OPENAI_BASE_URL", "").strip() or OFFICIAL,
    )


def openai_failure(connection: OpenAiConnection, error: Exception) -> TagsageError:
    """Return the error to raise instead of the SDK's, ``from None`` because that holds the key."""
    import openai

    where = "OpenAI" if connection.official else f"The server at {connection.base_url}"
    said = server_said(connection, error)
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        if not connection.api_key:
            return NonRetryableError(f"{where} wants a key ({error.status_code}); {_HOW}.")
        return NonRetryableError(
            f"{where} refused the key ({error.status_code}: {said}); {_HOW} to one that may."
        )
    if isinstance(error, openai.APIStatusError) and {error.code, error.type} & set(NO_QUOTA):
        return NonRetryableError(
            f"{where} says that the quota of the account is used up ({said}); raise it there and "
            "run again: what was paid for is kept."
        )
    if isinstance(error, openai.NotFoundError):
        return NonRetryableError(
            f"{where} does not know what was asked for ({said}); correct openai_model or "
            "OPENAI_BASE_URL, which ends in /v1 with most servers."
        )
    if isinstance(error, openai.APIStatusError) and error.status_code == 408:
        return TagsageError(f"{where} did not answer in time; raise openai_timeout_s.")
    if isinstance(error, openai.APIConnectionError):
        return TagsageError(
            f"{where} cannot be reached ({said}); see that it runs and that OPENAI_BASE_URL is "
            "right, then run again."
        )
    if isinstance(error, openai.APIStatusError):
        return TagsageError(f"{where} answered {error.status_code} ({said}); run again later.")
    return TagsageError(f"{where} gave no usable answer ({said}); run again later.")


def server_said(connection: OpenAiConnection, error: Exception) -> str:
    """Return the first line of an error's text, without keys, which servers repeat."""
    import openai

    text = str(error)
    if isinstance(error, openai.APIStatusError):
        text = _message(error.body) or f"status {error.status_code}"
    elif isinstance(error, openai.APIConnectionError) and error.__cause__ is not None:
        text = str(error.__cause__) or type(error.__cause__).__name__
    text = redact(text, _secrets(connection))
    return (text.strip().splitlines() or [type(error).__name__])[0].rstrip(". ")[:300]


def _secrets(connection: OpenAiConnection) -> list[str]:
    """Return what a server might repeat but nobody may read: the key, and further headers."""
    headers = connection.options.get("default_headers") or {}
    lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()
    said = [str(value) for value in headers.values()]
    said += [line.partition(":")[2].strip() for line in lines]
    # Without the scheme of Authorization too.
    said += [value.rpartition(" ")[2] for value in said]
    return [secret for secret in (connection.api_key, *said) if secret]


def _message(body: object) -> str:
    """Return the message in an error's body: OpenAI's object, or another server's own shape."""
    if isinstance(body, dict):
        return _message(body.get("message") or body.get("error") or body.get("detail"))
    return body if isinstance(body, str) and "<" not in body else ""

"""Which server, with which key, and its complaints: no secret is ever repeated."""

from __future__ import annotations

import re
from collections.abc import Generator

import openai
import pytest

from scripts.openai_server import OpenAiServer
from tagsage import openai_connection
from tagsage.errors import TagsageError
from tagsage.openai_connection import (
    OFFICIAL,
    OpenAiConnection,
    openai_complaint,
    provide_openai_connection,
    resolve_openai_connection,
    server_said,
)
from tagsage.providers import Providers

KEY = "sk-test-0123456789abcdef"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setattr(openai_connection, "_providers", Providers())


@pytest.fixture
def server() -> Generator[OpenAiServer]:
    with OpenAiServer(api_key=KEY) as running:
        yield running


def complaint(
    connection: OpenAiConnection, model: str = "text-embedding-3-small", timeout_s: float = 5
) -> str:
    """Ask for a vector; return how what went wrong is worded."""
    with connection.client(timeout_s=timeout_s) as client:
        try:
            client.embeddings.create(model=model, input=["a text"])
        except openai.OpenAIError as error:
            return openai_complaint(connection, error)
    return ""


# -- where, and who ------------------------------------------------------------------------------
def test_the_environment_names_key_and_server(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_openai_connection() == OpenAiConnection("", OFFICIAL)
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1/")
    found = resolve_openai_connection()
    assert (found.api_key, found.base_url) == (KEY, "http://127.0.0.1:11434/v1")


def test_a_provider_comes_before_the_environment_when_it_knows_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    given: list[OpenAiConnection | None] = [None]
    provide_openai_connection(lambda: given[0])
    assert resolve_openai_connection().api_key == "sk-environment"
    given[0] = OpenAiConnection("sk-airflow")
    assert resolve_openai_connection().api_key == "sk-airflow"


def test_only_openais_own_host_is_official() -> None:
    assert OpenAiConnection(KEY).official
    assert OpenAiConnection(KEY, "https://api.openai.com/v1/").official
    assert OpenAiConnection(KEY, "https://eu.api.openai.com/v1").official
    assert OpenAiConnection(KEY, "https://API.openai.com./v1").official
    assert not OpenAiConnection(KEY, "https://api.openai.com.example.org/v1").official
    assert not OpenAiConnection(KEY, "https://notapi.openai.com/v1").official


@pytest.mark.parametrize("url", ["ftp://host/v1", "host:8000/v1", "http://", "sk-secret"])
def test_a_base_url_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(TagsageError, match=r"must be http:// or https://") as caught:
        OpenAiConnection(KEY, url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://me:secret@host/v1", "http://secret@host/v1", "http://host/v1?key=secret"]
)
def test_a_base_url_with_a_secret_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(TagsageError, match="holds credentials or a query") as caught:
        OpenAiConnection(KEY, url)
    assert "secret" not in str(caught.value)


def test_the_key_is_in_no_text_form() -> None:
    connection = OpenAiConnection(KEY, options={"organization": "secret-org"})
    assert KEY not in f"{connection!r} {connection}"
    assert "secret-org" not in repr(connection)


def test_openai_without_a_key_is_refused_and_another_server_is_not() -> None:
    with pytest.raises(TagsageError, match="OpenAI wants a key; set OPENAI_API_KEY"):
        OpenAiConnection().client(timeout_s=1)
    with OpenAiConnection(base_url="http://127.0.0.1:1/v1").client(timeout_s=1) as client:
        assert client.max_retries == 0


def test_an_argument_the_client_does_not_know_is_told_without_its_value() -> None:
    connection = OpenAiConnection(KEY, options={"no_such": "secret"})
    with pytest.raises(TagsageError, match=r"openai_client_kwargs says \(.*no_such") as caught:
        connection.client(timeout_s=1)
    assert "secret" not in str(caught.value)


# -- what went wrong -----------------------------------------------------------------------------
@pytest.mark.parametrize("echo", [False, True])
def test_a_refused_key_is_told_without_it_even_when_the_server_repeats_it(echo: bool) -> None:
    wrong = "sk-wrong-abcdefghijklmnop"
    with OpenAiServer(api_key=KEY, echo_key=echo) as server:
        said = complaint(OpenAiConnection(wrong, server.base_url))
    assert "refused the key (401: Incorrect API key" in said
    assert "wrong" not in said
    assert "mnop" not in said


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("quota", r"the quota of the account is used up \(You exceeded"),
        ("404", r"does not know what was asked for \(.*correct openai_model or"),
        ("403", r"refused the key \(403"),
        ("500", r"answered 500 \(The server had an error"),
        ("503", r"answered 503 \(Error code: 503\); run again later"),
        ("reset_before", r"cannot be reached \(.*see that it runs"),
    ],
)
def test_every_failure_is_one_sentence(server: OpenAiServer, fault: str, sentence: str) -> None:
    server.faults.next("embeddings", fault)
    said = complaint(OpenAiConnection(KEY, server.base_url))
    assert re.search(sentence, said)
    assert "\n" not in said


def test_secrets_of_further_headers_are_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Gate: gate-secret\nAuthorization: Bearer bear-1")
    connection = OpenAiConnection(KEY, options={"default_headers": {"api-key": "azure-secret"}})
    error = ValueError("no: azure-secret, gate-secret, bear-1, " + KEY)
    assert server_said(connection, error) == "no: ***, ***, ***, ***"


def test_what_a_server_with_plain_errors_says_is_told() -> None:
    with OpenAiServer(plain_errors=True) as server:
        said = complaint(OpenAiConnection("", server.base_url), model="no-such-model")
    assert re.search(r"does not know what was asked for \(.*no-such-model", said)


def test_a_slow_server_is_told_of_with_the_setting_that_helps(server: OpenAiServer) -> None:
    server.faults.slow_s = 2.0
    server.faults.next("embeddings", "slow")
    said = complaint(OpenAiConnection(KEY, server.base_url), timeout_s=0.2)
    assert re.search(r"did not answer in time; .* openai_timeout_s", said)

"""Which server, with which key, and its complaints: no secret is ever repeated."""

from __future__ import annotations

import re

import openai
import pytest

from scripts.openai_server import OpenAiServer
from tagsage import openai_connection
from tagsage.errors import TagsageError
from tagsage.openai_connection import (
    OFFICIAL,
    OpenAiConnection,
    openai_failure,
    resolve_openai_connection,
    server_said,
)

KEY = "sk-test-0123456789abcdef"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setattr(openai_connection, "_provider", None)


@pytest.fixture
def server():
    with OpenAiServer(api_key=KEY) as running:
        yield running


def complaint(connection, model="text-embedding-3-small", timeout_s=5):
    """Ask for a vector; return how what went wrong is worded."""
    with connection.client(timeout_s=timeout_s) as client:
        try:
            client.embeddings.create(model=model, input=["a text"])
        except openai.OpenAIError as error:
            return str(openai_failure(connection, error))
    return ""


def test_the_environment_names_key_and_server(monkeypatch):
    assert resolve_openai_connection() == OpenAiConnection("", OFFICIAL)
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1/")
    found = resolve_openai_connection()
    assert (found.api_key, found.base_url) == (KEY, "http://127.0.0.1:11434/v1")


@pytest.mark.parametrize(
    ("url", "official"),
    [
        (OFFICIAL, True),
        ("https://eu.api.openai.com/v1", True),
        ("https://API.openai.com./v1/", True),
        ("https://api.openai.com.example.org/v1", False),
        ("https://notapi.openai.com/v1", False),
    ],
)
def test_only_openais_own_host_is_official(url, official):
    assert OpenAiConnection(KEY, url).official == official


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://host/v1", "must be http:// or https://"),
        ("host:8000/v1", "must be http:// or https://"),
        ("http://", "must be http:// or https://"),
        ("sk-secret", "must be http:// or https://"),
        ("http://me:secret@host/v1", "holds credentials or a query"),
        ("http://secret@host/v1", "holds credentials or a query"),
        ("http://host/v1?key=secret", "holds credentials or a query"),
    ],
)
def test_a_base_url_that_is_none_or_has_a_secret_is_refused_unseen(url, why):
    with pytest.raises(TagsageError, match=why) as caught:
        OpenAiConnection(KEY, url)
    assert "secret" not in str(caught.value)


def test_the_key_is_in_no_text_form():
    connection = OpenAiConnection(KEY, options={"organization": "secret-org"})
    assert KEY not in f"{connection!r} {connection}"
    assert "secret-org" not in repr(connection)


def test_openai_without_a_key_is_refused_and_another_server_is_not():
    with pytest.raises(TagsageError, match="OpenAI wants a key; set OPENAI_API_KEY"):
        OpenAiConnection().client(timeout_s=1)
    with OpenAiConnection(base_url="http://127.0.0.1:1/v1").client(timeout_s=1) as client:
        assert client.max_retries == openai_connection.RETRIES


def test_an_argument_the_client_does_not_know_is_told_without_its_value():
    connection = OpenAiConnection(KEY, options={"no_such": "secret"})
    with pytest.raises(TagsageError, match=r"openai_client_kwargs says \(.*no_such") as caught:
        connection.client(timeout_s=1)
    assert "secret" not in str(caught.value)


def test_refused_key_is_told_without_it_though_the_server_repeats_it(server):
    said = complaint(OpenAiConnection("gw-wrong-abcdefghijklmnop", server.base_url))
    assert "refused the key (401: Incorrect API key" in said
    assert "wrong" not in said
    assert "mnop" not in said


@pytest.mark.parametrize(
    ("fault", "sentence", "requests"),
    [
        ("quota", r"the quota of the account is used up \(You exceeded", 1),
        ("400", r"answered 400 \(The server cannot do this\); run again later", 1),
        ("500", r"answered 500 \(The server cannot do this\)", 2),
        ("429", r"answered 429 \(Rate limit reached\)", 2),
        ("reset", r"cannot be reached \(.*see that it runs", 2),
    ],
)
def test_failures_are_one_sentence_and_retried_where_that_can_help(
    server, monkeypatch, fault, sentence, requests
):
    monkeypatch.setattr(openai_connection, "RETRIES", 1)
    server.next_faults.extend([fault] * 5)
    said = complaint(OpenAiConnection(KEY, server.base_url))
    assert re.search(sentence, said)
    assert "\n" not in said
    assert len(server.requests) == requests


def test_unknown_model_is_told(server):
    said = complaint(OpenAiConnection(KEY, server.base_url), model="no-such-model")
    assert re.search(r"does not know what was asked for \(.*no-such-model", said)


def test_slow_answer_is_not_asked_for_again(server):
    server.slow_s = 1.0
    server.next_faults.append("slow")
    said = complaint(OpenAiConnection(KEY, server.base_url), timeout_s=0.2)
    assert re.search(r"did not answer in time; .* openai_timeout_s", said)
    assert len(server.next_faults) == 0
    assert not server.charges


def test_secrets_of_further_headers_are_not_repeated(monkeypatch):
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Gate: gate-secret\nAuthorization: Bearer bear-1")
    connection = OpenAiConnection(KEY, options={"default_headers": {"api-key": "azure-secret"}})
    error = ValueError("no: azure-secret, gate-secret, bear-1, " + KEY)
    assert server_said(connection, error) == "no: ***, ***, ***, ***"

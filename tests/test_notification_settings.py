"""Notifiers named in the settings: what is taken, and what is refused without repeating it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.errors import NonRetryableError
from tagsage.settings import Settings
from tagsage.settings.notifications import parse_notifiers

SMTP = "airflow.providers.smtp.notifications.smtp.SmtpNotifier"


def resolved(value: object) -> Settings:
    return Settings.resolve({"notify_on_success": json.dumps(value)})


def test_one_notifier_or_a_list_of_them():
    one = {"notifier": SMTP, "arguments": {"to": "a@b.example", "subject": "{{ tagsage_summary }}"}}
    other = {"notifier": "rooms.ChatNotifier"}
    assert parse_notifiers("x", json.dumps(one)) == [one]
    assert parse_notifiers("x", json.dumps([one, other])) == [one, {**other, "arguments": {}}]
    assert parse_notifiers("x", "") == parse_notifiers("x", " ") == parse_notifiers("x", "[]") == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"slack_conn_id": "slack_default", "text": "{{ tagsage_text }}"},
        {"apprise_conn_id": "chat", "body": "No secret: tokens are counted, passwords are not."},
        {"token": "{{ conn.chat.password }}"},
        {"to": ["a@b.example", "c@d.example"], "custom_headers": {"X-Team": "tags"}},
        {"webhook_token_conn_id": "chat", "retries": 3, "token": ""},
        {"token": "{{ conn.get('my-chat').password }}", "bot_key": "{{ var.value.bot_key }}"},
        {"text": "Bearer of news: {{ ds }} {{ tagsage_text }}", "dedup_key": "{{ dag.dag_id }}"},
        {"text": "The report is at s3://bucket/report.html and https://tags.example:8080/x."},
    ],
)
def test_arguments_without_secrets_are_taken(arguments):
    settings = resolved({"notifier": "rooms.ChatNotifier", "arguments": arguments})
    (found,) = parse_notifiers("notify_on_success", settings.notify_on_success)
    assert found["arguments"] == arguments


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("password", {"password": "hush"}),
        ("smtp_passwd", {"smtp_passwd": "hush"}),
        ("api_key", {"deep": [{"api_key": "hush"}]}),
        ("Authorization", {"custom_headers": {"Authorization": "hush"}}),
        ("body", {"body": "to https://hush:hush@chat.example/x"}),
        ("url", {"url": "https://hooks.slack.com/services/T0/B0/hush"}),
        ("routing_key", {"routing_key": "hush"}),
        ("text", {"text": "Bearer hush"}),
        ("text", {"text": "{{ ds }} xoxb-1234567890-hush {{ ds }}"}),
        ("text", {"text": "send it with Bearer hush1234"}),
        ("text", {"text": "https://ann:hu/sh@chat.example"}),
        ("token", {"token": "{{ 'xoxb-1234567890-hush' }}"}),
        ("token", {"token": "{{ 'hush' }}"}),
        ("token", {"token": "{{ conn.chat.password }}hush{{ ds }}"}),
        ("token", {"token": "{{ var.value.get('bot', 'hush') }}"}),
        ("X-Key", {"headers": {"X-Key": "hush"}}),
        ("bot_key", {"bot_key": "hush"}),
        ("of_ann", {"credentials": {"of_ann": "hush"}}),
        ("servers", {"servers": ["tgram://123456:hush/chat"]}),
        ("servers", {"servers": ["discord://id/hush"]}),
        ("url", {"url": "https://api.telegram.org/bot123456:hush/sendMessage"}),
        ("slack_conn_id", {"slack_conn_id": "xoxb-hush"}),
    ],
)
def test_what_looks_like_a_secret_is_refused_and_not_repeated(name, arguments):
    with pytest.raises(
        NonRetryableError, match=f"the argument {name} looks like a secret"
    ) as raised:
        resolved({"notifier": "rooms.ChatNotifier", "arguments": arguments})
    assert "hush" not in str(raised.value)
    assert "connection of Airflow" in str(raised.value)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("Notifier", "notifier has the keys"),
        (5, "notifier has the keys"),
        ({"notifier": "rooms.Chat", "password": "hush"}, "notifier has the keys"),
        ({}, "must be the path of a class"),
        ({"notifier": "print"}, "must be the path of a class"),
        ({"notifier": "os; import hush.x"}, "must be the path of a class"),
        ({"notifier": "rooms.Chat", "arguments": ["hush"]}, "must be an object"),
    ],
)
def test_anything_else_is_refused_in_one_sentence(value, sentence):
    with pytest.raises(NonRetryableError, match=sentence) as raised:
        resolved(value)
    assert "hush" not in str(raised.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["notifier", "arguments", "to", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.text(max_size=200) | JSON.map(json.dumps))
def test_any_text_is_read_or_refused(text):
    try:
        found = parse_notifiers("notify_on_failure", text)
    except ValueError as error:
        found, refused = [], str(error)
    else:
        refused = "notify_on_failure"
    assert refused.startswith("notify_on_failure")
    assert all(item.keys() == {"notifier", "arguments"} for item in found)


def test_an_address_of_mlflow_is_one_for_a_browser():
    assert Settings.resolve({"mlflow_url": "https://mlflow.example/x"}).mlflow_url
    with pytest.raises(NonRetryableError, match="mlflow_url"):
        Settings.resolve({"mlflow_url": "sqlite:///mlflow.db"})
    with pytest.raises(NonRetryableError, match="mlflow_url holds a user or a password") as raised:
        Settings.resolve({"mlflow_url": "https://ann:hush@mlflow.example"})
    assert "hush" not in str(raised.value)

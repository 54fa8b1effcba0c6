"""Who is told how a run ended: Airflow's notifiers, named and filled in."""

from __future__ import annotations

import json
import re
from typing import Any, Self, TypedDict

from pydantic import Field, model_validator

from tagsage.settings.section import Section

# An argument of such a name is a secret, unless it only says where Airflow keeps one.
SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)|secret|token|credential|authori[sz]ation"
    # PagerDuty's dedup_key only says which messages belong together.
    r"|(?<!dedup_)keys?$|webhook_?(url|uri|endpoint|token)",
    re.IGNORECASE,
)
SECRET_VALUE = re.compile(
    r"://([^/\s]*|[^/\s:]*:\S*)@"  # a user or password in an address
    r"|hooks\.slack\.com/services/|/api/webhooks/\d|webhook\.office\.com/|/bot\d+:"
    r"|\bxox[a-z]-|\bsk-[\w-]{8}|\bgh[pousr]_\w{8}|\bAKIA[A-Z0-9]{12}|\b\d{6,}:[\w-]{30}"
    # "Bearer of news" is none.
    r"|^\s*Bearer\s+[^\s{}]+\s*$|\bBearer\s+([^\s{}]{16}|[^\s{}]*\d)"
    # Apprise has tokens as hosts and paths: discord://id/token.
    r"|(?<![a-z0-9+.-])(?!(https?|file|s3|gs|abfss?)://)[a-z][a-z0-9+.-]*://\S",
    re.IGNORECASE,
)
# What keeps a secret out of the settings: a connection or a variable of Airflow, by its name alone.
TEMPLATE = re.compile(
    r"\{\{\s*((conn|var)(\.\w+|\.get\(('[\w.-]+'|\"[\w.-]+\")\))+|tagsage_\w+)\s*\}\}"
)
PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


class Notifier(TypedDict):
    """A notifier of Airflow: the path of its class, and what it is made with."""

    notifier: str
    arguments: dict[str, Any]


class NotificationSettings(Section):
    """Notifications."""

    title = "Notifications"

    notify_on_failure: str = Field(
        "",
        max_length=4000,
        description="Airflow notifiers for a DAG run that failed, as JSON; empty: nobody is told.",
    )
    notify_on_success: str = Field(
        "",
        max_length=4000,
        description="The same for the short summary of a run that ended well.",
    )
    mlflow_url: str = Field(
        "",
        pattern=r"^(https?://\S+)?$",
        description="Where people open MLflow, for links; empty: the tracking URI, if it is http.",
    )

    @model_validator(mode="after")
    def _check_secrets(self) -> Self:
        # Here and not in a validator of the field, whose message would repeat the value.
        if SECRET_VALUE.search(self.mlflow_url):
            raise ValueError("mlflow_url holds a user or a password, and people are shown it")
        for name in ("notify_on_failure", "notify_on_success"):
            parse_notifiers(name, getattr(self, name))
        return self


def parse_notifiers(name: str, text: str) -> list[Notifier]:
    """Read one or several notifiers from a setting's JSON.

    Parameters
    ----------
    name : str
        The setting, for messages.
    text : str
        ``{"notifier": "package.module.Class", "arguments": {…}}``, or a list of these; empty for
        none.

    Returns
    -------
    list of Notifier
        The notifiers; without ``arguments``, these are empty.

    Raises
    ------
    ValueError
        When it is something else, or an argument looks like a secret. The message never repeats a
        value.
    """
    if not text.strip():
        return []
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(
            f'{name} is not JSON; give {{"notifier": "package.module.Class", '
            '"arguments": {…}} or a list of these'
        ) from None
    items = found if isinstance(found, list) else [found]
    return [_notifier(name, item) for item in items]


def _notifier(name: str, item: object) -> Notifier:
    if not isinstance(item, dict) or not item.keys() <= {"notifier", "arguments"}:
        raise ValueError(f"{name}: a notifier has the keys notifier and arguments, and no others")
    path, arguments = item.get("notifier"), item.get("arguments", {})
    if not isinstance(path, str) or not PATH.fullmatch(path):
        raise ValueError(f"{name}: notifier must be the path of a class: package.module.Class")
    has_names = isinstance(arguments, dict)
    if not has_names:
        raise ValueError(f"{name}: the arguments of {path} must be an object of name and value")
    _refuse_secrets(name, arguments)
    return Notifier(notifier=path, arguments=arguments)


def _refuse_secrets(name: str, value: object, within: str = "", *, named: bool = False) -> None:
    """Refuse what looks like a secret: settings are shown to people, connections are not."""
    if isinstance(value, dict):
        for key, inner in value.items():
            says_so = SECRET_NAME.search(key) is not None and not key.endswith("conn_id")
            _refuse_secrets(name, inner, key, named=named or says_so)
    elif isinstance(value, list):
        for inner in value:
            _refuse_secrets(name, inner, within, named=named)
    elif isinstance(value, str) and value:
        written_out = named and not TEMPLATE.fullmatch(value.strip())
        if written_out or SECRET_VALUE.search(value):
            raise ValueError(
                f"{name}: the argument {within[:40]} looks like a secret, and settings are shown "
                "to people; put it into a connection of Airflow and give the notifier that "
                "connection's id"
            )

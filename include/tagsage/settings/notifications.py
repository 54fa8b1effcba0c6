"""Who is notified at the end of a DAG run."""

from __future__ import annotations

from typing import Self

from pydantic import Field, SecretStr, model_validator

from tagsage.redact import redact
from tagsage.settings.section import Section


class NotificationSettings(Section):
    """Notifications."""

    title = "Notifications"

    # Arguments of a notifier may hold a token; a SecretStr is shown as stars everywhere.
    notify_on_failure: SecretStr = Field(
        SecretStr(""),
        description="Airflow notifiers for a DAG run that failed, as JSON; empty: none.",
    )
    notify_on_success: SecretStr = Field(
        SecretStr(""),
        description="The same for the short summary of a run that ended well.",
    )
    mlflow_url: str = Field(
        "",
        pattern=r"^(https?://\S+)?$",
        description="Where people open MLflow, for links; empty: the tracking URI, if it is http.",
    )

    @model_validator(mode="after")
    def _check_address(self) -> Self:
        # Here and not in a validator of the field, whose message would repeat the value.
        if redact(self.mlflow_url) != self.mlflow_url:
            raise ValueError("mlflow_url holds a user or a password, and people are shown it")
        return self

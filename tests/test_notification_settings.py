"""Settings of notifications: their secrets are not shown."""

from __future__ import annotations

import pytest

from tagsage.errors import NonRetryableError
from tagsage.settings import Settings


def test_notifiers_are_shown_as_stars():
    settings = Settings.resolve({"notify_on_failure": '{"arguments": {"token": "hush"}}'})
    assert "hush" not in f"{settings!r} {settings.model_dump(mode='json')}"
    assert "hush" in settings.notify_on_failure.get_secret_value()
    # A token of a run, which has the stars, can be read.
    Settings.model_validate(settings.model_dump(mode="json"))


def test_an_address_of_mlflow_is_one_for_a_browser():
    assert Settings.resolve({"mlflow_url": "https://mlflow.example/x"}).mlflow_url
    with pytest.raises(NonRetryableError, match="mlflow_url"):
        Settings.resolve({"mlflow_url": "sqlite:///mlflow.db"})
    with pytest.raises(NonRetryableError, match="mlflow_url holds a user or a password") as raised:
        Settings.resolve({"mlflow_url": "https://ann:hush@mlflow.example"})
    assert "hush" not in str(raised.value)

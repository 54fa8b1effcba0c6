"""All sections as one: where a value comes from, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tagsage.errors import NonRetryableError
from tagsage.settings.candidates import parse_candidates
from tagsage.settings.checks import ChecksSettings
from tagsage.settings.embed import EmbedSettings
from tagsage.settings.graph import GraphSettings
from tagsage.settings.harvest import HarvestSettings
from tagsage.settings.learn import LearnSettings
from tagsage.settings.notifications import NotificationSettings
from tagsage.settings.paths import PathSettings
from tagsage.settings.predictions import PredictionSettings
from tagsage.settings.promotion import PromotionSettings
from tagsage.settings.section import Section

ENV_PREFIX = "TAGSAGE_"


# Fields are listed base by base, the last first.
class Settings(
    PredictionSettings,
    NotificationSettings,
    PromotionSettings,
    LearnSettings,
    GraphSettings,
    EmbedSettings,
    HarvestSettings,
    ChecksSettings,
    PathSettings,
    BaseSettings,
):
    """The settings of one run; immutable."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True)

    @classmethod
    def sections(cls) -> list[type[Section]]:
        """Return the sections, in the order in which settings are listed."""
        return [base for base in reversed(cls.__bases__) if issubclass(base, Section)]

    @classmethod
    def resolve(cls, overrides: Mapping[str, Any] | None = None) -> Self:
        """Build the settings from overrides by name, environment and defaults.

        Strings are converted to the setting's type. Raises `NonRetryableError` for an unknown name
        or an impossible value; it lists what is allowed.
        """
        # A form that leaves a field empty sends null: the same as not naming the setting.
        overrides = {name: value for name, value in (overrides or {}).items() if value is not None}
        names = sorted(cls.model_fields)
        from_env = {
            key[len(ENV_PREFIX) :].lower(): key for key in os.environ if key.startswith(ENV_PREFIX)
        }
        for name in [*overrides, *from_env]:
            if name not in cls.model_fields:
                close = get_close_matches(name, names, n=1)
                hint = f" (did you mean {close[0]}?)" if close else ""
                shown = from_env.get(name, name)
                msg = f"Unknown setting {shown!r}{hint}; allowed are: {', '.join(names)}."
                raise NonRetryableError(msg)
        in_env = {name: os.environ[key] for name, key in from_env.items()}
        # Files named on the command line outweigh a corpus from the environment.
        named = overrides if "corpus" in in_env else in_env | overrides
        if named.get("articles") or named.get("lists"):
            overrides.setdefault("corpus", "csv")
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise NonRetryableError(_sentence(cls, error)) from None

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        self.parsed_candidates()
        if urlsplit(self.mlflow_tracking_uri).password is not None:
            # Settings are shown in forms, logs, MLflow and the report.
            raise ValueError(
                "mlflow_tracking_uri holds a password, and settings are shown to people; put the "
                "URI into the environment variable MLFLOW_TRACKING_URI instead"
            )
        if self.engine == "gds" and self.store != "neo4j":
            raise ValueError("engine=gds computes in the Neo4j server, so it needs store=neo4j")
        if self.corpus == "csv" and not (self.articles and self.lists):
            raise ValueError("corpus=csv needs both `articles` and `lists`")
        if self.corpus != "csv" and (self.articles or self.lists):
            raise ValueError(f"`articles` and `lists` need corpus=csv, not corpus={self.corpus}")
        if self.embedder == "precomputed" and not self.vectors:
            raise ValueError("embedder=precomputed needs `vectors`, a CSV of URL and JSON list")
        if self.embedder != "precomputed" and self.vectors:
            raise ValueError("`vectors` needs embedder=precomputed")
        return self

    @classmethod
    def form_field(cls, name: str) -> dict[str, Any]:
        """Return the JSON schema of one setting, without its default: what a form needs."""
        schema: dict[str, Any] = cls.model_json_schema()["properties"][name]
        if schema.pop("default") == "":
            # A form may leave it empty, which some forms send as null.
            schema["type"] = ["string", "null"]
        return schema

    def parsed_candidates(self) -> list[tuple[str, str]]:
        """Return the candidates as (feature set, classifier) pairs, in the order given."""
        return parse_candidates(self.candidates)

    def chosen_scenarios(self) -> list[str]:
        """Return the scenarios of the best two candidates, each once, in a fixed order."""
        names = ("cold_start", "inductive", "time", "grouped")
        return [name for name in names if name in self.scenarios]

    def chosen_shares(self) -> list[float]:
        """Return the shares of the learning curve, rising, each once."""
        shares = {float(share) for share in self.learning_shares.split(",") if share}
        return sorted(shares - {0.0})


def _sentence(cls: type[Settings], error: ValidationError) -> str:
    """Word a validation error as: what, whose, got, allowed."""
    parts = []
    for detail in error.errors():
        message = detail["msg"].removeprefix("Value error, ")
        if not detail["loc"]:
            parts.append(message)
            continue
        name = str(detail["loc"][0])
        about = cls.model_fields[name].description if name in cls.model_fields else ""
        parts.append(f"{name}={detail['input']!r}: {message} ({about})")
    return f"Impossible settings: {'; '.join(parts)}"

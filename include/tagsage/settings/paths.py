"""Where things are, and when a run begins."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tagsage.settings.section import Section


class PathSettings(Section):
    """Where the files, the store and the models are."""

    title = "Where things are"

    workspace: str = Field(
        "workspace", min_length=1, description="Folder (or fsspec URL) of the run's files."
    )
    corpus: Literal["bundled", "csv", "medium", "harvest"] = Field(
        "bundled",
        description="bundled: data/; csv: `articles` and `lists`; medium: the study's; harvest: "
        "what was harvested.",
    )
    articles: str = Field("", description="CSV of articles (corpus=csv); .gz accepted.")
    lists: str = Field("", description="CSV of memberships (corpus=csv); .gz accepted.")
    store: Literal["sqlite", "postgres", "neo4j"] = Field(
        "sqlite",
        description="Where articles are kept; postgres is found by PGHOST, PGUSER, PGPASSWORD and "
        "PGDATABASE.",
    )
    sqlite_path: str = Field("", description="SQLite file; empty: tagsage.db in the workspace.")
    engine: Literal["local", "gds"] = Field(
        "local", description="What computes the graph; gds needs store=neo4j."
    )
    runner: Literal["local", "spark"] = Field(
        "local", description="What works on partitions; spark is an extra (docs/scale.md)."
    )
    mlflow_tracking_uri: str = Field(
        "",
        description="Empty: the variable MLFLOW_TRACKING_URI, unless the command line names a "
        "workspace; else SQLite in the workspace.",
    )
    mlflow_experiment: str = Field("tagsage", min_length=1, description="MLflow experiment.")
    registered_model: str = Field("tagsage", min_length=1, description="Name in the registry.")

    schedule: str = Field(
        "0 2 * * *",
        pattern=r"^(\S+( \S+){4}|@[a-z]+|never)$",
        description="When Airflow starts the nightly run: cron, UTC; never: only by hand.",
    )

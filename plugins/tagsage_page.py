"""The pages of tagsage in Airflow: who may see them, and where Airflow shows them.

Every part of Airflow reads the plugins when it starts, so the app is made at the first request.
"""

from __future__ import annotations

import os
from datetime import UTC
from pathlib import Path
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

from tagsage.airflow.notifications import PAGES_PREFIX

DAG = "retrain"
# Airflow may itself be served below a path.
ADDRESS = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/") + PAGES_PREFIX


class Pages:
    """The app, made when it is first asked."""

    def __init__(self) -> None:
        self._app = None

    async def __call__(self, scope, receive, send) -> None:
        """Answer a request (ASGI)."""
        if self._app is None:
            self._app = make_app()
        await self._app(scope, receive, send)


def make_app():
    """Make the pages, for people whom Airflow lets read the DAG retrain."""
    from airflow.api_fastapi.core_api.security import requires_access_dag

    from tagsage.app.app import Surroundings, make_app

    return make_app(
        Surroundings(
            guard=requires_access_dag("GET", param_dag_id=DAG),
            workspace=workspace_folder,
            database=database,
            last_run=last_run,
            mlflow_url=mlflow_url,
        )
    )


def workspace_folder() -> Path:
    """Return the workspace of the environment, as the DAG's form has it by default.

    Raises
    ------
    TagsageError
        When a setting is impossible, or the workspace lies elsewhere than on this machine.
    """
    from tagsage.errors import TagsageError
    from tagsage.settings import Settings
    from tagsage.workspace import Workspace

    workspace = Workspace(Settings.resolve().workspace)
    if not workspace.is_local:
        raise TagsageError(
            "The pages read a workspace in a folder of this machine, and TAGSAGE_WORKSPACE names "
            "another place; the report is there, and MLflow has it, too."
        )
    return Path(workspace.root.path)


def database():
    """Return the address of the SQL store: Postgres, or the SQLite file that runs write."""
    from tagsage.settings import Settings
    from tagsage.store.database import pages_url

    return pages_url(Settings.resolve())


def last_run():
    """Return the latest run of the DAG, from Airflow's database; None when there is none."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from tagsage.app.runs import RunState

    latest = (
        select(DagRun.run_id, DagRun.state, DagRun.queued_at, DagRun.start_date, DagRun.end_date)
        .where(DagRun.dag_id == DAG)
        .order_by(DagRun.id.desc())
        .limit(1)
    )
    with create_session() as session:
        row = session.execute(latest).one_or_none()
    if row is None:
        return None
    when = row.end_date or row.start_date or row.queued_at
    since = f"{when.astimezone(UTC):%d %B %Y, %H:%M} UTC" if when else ""
    return RunState(row.run_id, str(row.state), since)


def mlflow_url() -> str:
    """Return where people see MLflow; empty when nothing says so."""
    from tagsage.settings import Settings

    settings = Settings.resolve()
    tracking = settings.mlflow_tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    parts = urlsplit(settings.mlflow_url or tracking)
    if parts.scheme not in {"http", "https"}:
        return ""
    # An address with a password is none to show.
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class TagsagePages(AirflowPlugin):
    """Airflow mounts the app, and links to it in its navigation."""

    name = "tagsage_page"
    fastapi_apps = [{"app": Pages(), "url_prefix": PAGES_PREFIX, "name": "tagsage"}]  # ruff: ignore[mutable-class-default]
    # Without `url_route` it is a page of its own: in Airflow's frame, which is sandboxed, neither
    # the articles nor MLflow nor the trigger form could be opened. In a menu, since Airflow 3.3
    # makes a button that does nothing of such a link at the top level.
    external_views = [  # ruff: ignore[mutable-class-default]
        {
            "name": "tagsage",
            "href": f"{ADDRESS}/",
            "destination": "nav",
            "icon": f"{ADDRESS}/icon.svg",
            "category": "browse",
        }
    ]

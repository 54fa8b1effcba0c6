"""MLflow's store: made ready, a client of it, and its errors translated."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.client import NOT_FOUND
from pathlib import Path

import mlflow
import requests
import sqlalchemy.exc
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from platformdirs import user_cache_path

from tagsage.errors import TagsageError
from tagsage.files import atomic_file, locked
from tagsage.redact import redact

DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
LOCK = ".mlflow.lock"


@dataclass(frozen=True)
class Tracking:
    """A ready MLflow store and experiment; `folder` is local, for the lock and temporary files."""

    uri: str = field(repr=False)  # it may hold a password
    experiment_id: str
    folder: Path

    @cached_property
    def client(self) -> MlflowClient:
        """A client that uses none of MLflow's settings that are global to the process."""
        with translated(self.uri):
            return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    @contextmanager
    def locked(self) -> Generator[None, None, None]:
        """Lock out other processes of this machine, and translate MLflow's errors."""
        with locked(self.folder / LOCK), translated(self.uri):
            yield


def open_tracking(uri: str, *, experiment: str, folder: Path) -> Tracking:
    """Make the store (an empty `uri`: SQLite in `folder`) and the experiment ready to log to.

    Raises `TagsageError` when the store cannot be reached or is not one.
    """
    for name in ("mlflow", "alembic"):  # they log their own housekeeping
        logging.getLogger(name).setLevel(logging.WARNING)
    uri = uri or f"sqlite:///{(folder / DATABASE).resolve()}"
    # MLflow makes its tables when a client first connects; two processes at once break each other.
    with locked(folder / LOCK), translated(uri):
        file = _sqlite_file(uri)
        if file is not None and not file.exists():
            _make_database(file)
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            # A server knows its own place for artifacts.
            place = None if file is None else (file.parent / ARTIFACTS).as_uri()
            experiment_id = client.create_experiment(experiment, artifact_location=place)
        else:
            experiment_id = found.experiment_id
            if found.lifecycle_stage == "deleted":
                client.restore_experiment(experiment_id)
    return Tracking(uri, experiment_id, folder)


@contextmanager
def translated(uri: str) -> Generator[None, None, None]:
    """Translate MLflow's errors, without secrets."""
    try:
        yield
    except (MlflowException, requests.RequestException, sqlalchemy.exc.SQLAlchemyError) as error:
        shown = redact(uri)
        first = re.split(r"[\n\r]", redact(str(error)).replace(shown, "").strip())[0][:300]
        msg = (
            f"MLflow at {shown} did not do what was asked ({type(error).__name__}: "
            f"{first.strip().rstrip('.')}); check that it runs and that the setting "
            "mlflow_tracking_uri names it."
        )
        # Not "from error": its text may quote the URI with its password.
        raise TagsageError(msg) from None


def is_missing(error: Exception) -> bool:
    """Return whether MLflow answered that something does not exist."""
    if isinstance(error, MlflowException):
        return bool(error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST))
    if isinstance(error, requests.HTTPError):
        return error.response is not None and error.response.status_code == NOT_FOUND
    return isinstance(error, FileNotFoundError)


def _make_database(file: Path) -> None:
    """Copy an empty database of MLflow's; it takes seconds to make, so one is kept per version."""
    template = user_cache_path("tagsage", ensure_exists=True) / f"mlflow-{mlflow.__version__}.db"
    with locked(template.with_suffix(".lock")):
        if not template.exists():
            # Whole or not at all: MLflow can't continue a partial schema.
            new = template.with_suffix(".new")
            for leftover in new.parent.glob(f"{new.name}*"):
                leftover.unlink()
            client = MlflowClient(tracking_uri=f"sqlite:///{new}", registry_uri=f"sqlite:///{new}")
            client.search_experiments(max_results=1)
            client.search_registered_models(max_results=1)
            new.replace(template)
    with template.open("rb") as source, atomic_file(file) as target:
        shutil.copyfileobj(source, target)


def _sqlite_file(uri: str) -> Path | None:
    prefix = "sqlite:///"
    if not uri.startswith(prefix):
        return None
    return Path(uri.removeprefix(prefix).partition("?")[0]).resolve()

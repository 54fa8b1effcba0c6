"""The MLflow store a run is logged to: found, made ready, and its failures put into words."""

from __future__ import annotations

import fcntl
import logging
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import requests
import sqlalchemy.exc
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tagsage.errors import TagsageError

DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
LOCK = ".mlflow.lock"


@dataclass(frozen=True)
class Tracking:
    """An MLflow store that is ready, and the experiment in it.

    Attributes
    ----------
    uri : str
        The tracking URI; it may hold a password, so show :attr:`shown_uri` instead.
    experiment : str
        Name of the experiment.
    experiment_id : str
        Its id in MLflow.
    folder : pathlib.Path
        Local folder for the lock that keeps processes of one machine apart.
    """

    uri: str
    experiment: str
    experiment_id: str
    folder: Path

    def __repr__(self) -> str:
        """Name the store without its password."""
        return f"Tracking({self.shown_uri!r}, {self.experiment!r})"

    @property
    def shown_uri(self) -> str:
        """The tracking URI without user name and password."""
        return without_secrets(self.uri)

    @cached_property
    def client(self) -> MlflowClient:
        """A client of the store; it uses no state of MLflow that is global to the process."""
        with told(self.uri):
            return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    @contextmanager
    def alone(self) -> Generator[None, None, None]:
        """Keep other processes of this machine out of find-or-create steps."""
        with _locked(self.folder), told(self.uri):
            yield


def default_uri(folder: Path) -> str:
    """Return the URI of the SQLite store in a folder."""
    return f"sqlite:///{(folder / DATABASE).resolve()}"


def initialise(uri: str, *, experiment: str, folder: Path) -> Tracking:
    """Make the store and the experiment ready; call it first in every task that logs.

    MLflow creates and migrates its SQL tables when a client first connects, and two processes that
    do so at the same time break each other (``duplicate column name``): so this happens under a
    file lock.

    Parameters
    ----------
    uri : str
        Tracking URI; empty for SQLite in `folder`.
    experiment : str
        Name of the experiment; created, with its artifact location, when there is none.
    folder : pathlib.Path
        Local folder of the workspace.

    Returns
    -------
    Tracking
        The store, ready to log to.

    Raises
    ------
    TagsageError
        When the store cannot be reached or is not one.
    """
    _hush()
    uri = uri or default_uri(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder), told(uri):
        _make_database(uri)
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            experiment_id = _create_experiment(client, experiment, _artifact_location(uri))
        else:
            experiment_id = found.experiment_id
            if found.lifecycle_stage == "deleted":
                client.restore_experiment(experiment_id)
    return Tracking(uri=uri, experiment=experiment, experiment_id=experiment_id, folder=folder)


def _make_database(uri: str) -> None:
    """Make MLflow's SQLite file whole or not at all.

    MLflow makes its tables in many steps and cannot go on from the middle of them (``table spans
    already exists``): a kill then would leave a store that never works again.
    """
    file = _sqlite_file(uri)
    if file is None or file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    for leftover in file.parent.glob(f".{file.name}.new*"):
        leftover.unlink()
    new = file.with_name(f".{file.name}.new")
    client = MlflowClient(tracking_uri=f"sqlite:///{new}", registry_uri=f"sqlite:///{new}")
    client.search_experiments(max_results=1)
    client.search_registered_models(max_results=1)
    new.replace(file)


def _sqlite_file(uri: str) -> Path | None:
    prefix = "sqlite:///"
    if not uri.startswith(prefix):
        return None
    return Path(uri.removeprefix(prefix).partition("?")[0]).resolve()


def _create_experiment(client: MlflowClient, name: str, artifact_location: str | None) -> str:
    try:
        return client.create_experiment(name, artifact_location=artifact_location)
    except MlflowException:
        # Another machine was first: the file lock does not reach there.
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return found.experiment_id


def _artifact_location(uri: str) -> str | None:
    """Return the folder beside a SQLite file; a server and other stores know their own place."""
    file = _sqlite_file(uri)
    return None if file is None else (file.parent / ARTIFACTS).as_uri()


@contextmanager
def _locked(folder: Path) -> Generator[None, None, None]:
    with (folder / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def told(uri: str) -> Generator[None, None, None]:
    """Turn MLflow's failures into one sentence that holds no secret.

    The original exception is dropped on purpose: its text may quote the URI with its password.
    """
    try:
        yield
    except (MlflowException, requests.RequestException, sqlalchemy.exc.SQLAlchemyError) as error:
        reason = without_secrets(str(error)).replace(without_secrets(uri), "").strip()
        first = re.split(r"[\n\r]", reason)[0][:300].strip().rstrip(".")
        msg = (
            f"MLflow at {without_secrets(uri)} did not do what was asked ({type(error).__name__}: "
            f"{first}); check that it runs and that the setting mlflow_tracking_uri names it."
        )
        raise TagsageError(msg) from None


def without_secrets(text: str) -> str:
    """Return a text with the user name and password of every URL in it left out.

    Examples
    --------
    >>> without_secrets("http://ann:secret@mlflow.example:5000/x")
    'http://***@mlflow.example:5000/x'
    """
    return re.sub(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/\s]*@", r"\1***@", text)


def _hush() -> None:
    """Keep MLflow's and Alembic's notes on their own housekeeping out of the run's log."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)

"""The registry: the run's winner becomes a version, and a version is loaded again.

Each version carries what promotion needs: as tags the score on the test part and the digest of the
corpus it was measured on; in its run the frozen test (:mod:`tagsage.evaluate.frozen`). Who is
champion, and why, is the matter of :mod:`tagsage.registry.champions`.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import NOT_FOUND
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit
from urllib.request import url2pathname

import requests
from mlflow.artifacts import download_artifacts, list_artifacts
from mlflow.entities import LoggedModel, LoggedModelOutput
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    RESOURCE_ALREADY_EXISTS,
    RESOURCE_DOES_NOT_EXIST,
    ErrorCode,
)

from tagsage.errors import TagsageError
from tagsage.evaluate.frozen_test import FrozenTest
from tagsage.registry.mlflow_models import Model, PyFuncModel, load_model
from tagsage.registry.runs import RUN_ID, TRIAL, candidate_run
from tagsage.registry.seal import REMEDY, DamagedModelError, copy_sealed, seal
from tagsage.registry.servable import save_servable
from tagsage.registry.store import Tracking, without_secrets

logger = logging.getLogger(__name__)

CHALLENGER = "challenger"
CHAMPION = "champion"
MICRO_F1 = "tagsage.test_micro_f1"
DATA_DIGEST = "tagsage.data_digest"
SERVED_REF = "tagsage.served"
WINNER = "tagsage.candidate"
MODEL_DIGEST = "tagsage.model_digest"
FROZEN_TEST = "tagsage.frozen_test"
FROZEN_FOLDER = "frozen_test"
MODEL_NAME = "tagger"
SCRATCH = "scratch"


class DamagedTestError(TagsageError):
    """The frozen test of a version was kept and cannot be read."""


@dataclass(frozen=True)
class Version:
    """A version of the registered model.

    Attributes
    ----------
    number : str
        The version.
    run_id : str
        MLflow's id of the run that it was made in.
    tags : mapping of str to str
        Its tags.
    created_ms : int
        When it was registered, in milliseconds since 1970.
    aliases : tuple of str
        Its aliases, sorted.
    """

    number: str
    run_id: str
    tags: Mapping[str, str]
    created_ms: int
    aliases: tuple[str, ...] = ()

    @classmethod
    def of(cls, found: ModelVersion, aliases: Mapping[str, Any] | None = None) -> Self:
        """Return what MLflow says of a version; `aliases` of the model: alias -> version."""
        own = [
            alias for alias, number in (aliases or {}).items() if str(number) == str(found.version)
        ]
        return cls(
            str(found.version),
            str(found.run_id or ""),
            dict(found.tags),
            int(found.creation_timestamp),
            tuple(sorted(own)),
        )

    @property
    def micro_f1(self) -> float | None:
        """Micro-F1 on its own test part; None when it carries none."""
        value = self.tags.get(MICRO_F1)
        return None if value is None else float(value)


def register_winner(
    tracking: Tracking,
    run_id: str,
    candidate: str,
    *,
    name: str,
    served: Path,
    served_ref: str,
    frozen: Path,
    micro_f1: float,
    data_digest: str,
    description: str,
    trial: bool = False,
) -> str:
    """Register the run's winner as a new version; it gets the alias ``challenger``.

    Not so in a trial, whose version is marked by a tag instead.

    Called again for the same run and the same model it returns the version it made before.

    Parameters
    ----------
    tracking : Tracking
        The store.
    run_id : str
        tagsage's name of the run.
    candidate : str
        The winner, ``feature_set:classifier``.
    name : str
        Name of the registered model; created when there is none.
    served : pathlib.Path
        Folder that :func:`tagsage.registry.servable.write_served` filled.
    served_ref : str
        Tells this model from another of the same run, made after its input changed.
    frozen : pathlib.Path
        Folder of the saved :class:`~tagsage.evaluate.frozen_test.FrozenTest`, for later runs.
    micro_f1 : float
        The winner's micro-F1 on the test part.
    data_digest : str
        Digest of the corpus it was measured on.
    description : str
        Plain words for people who look at the registry.
    trial : bool
        Whether the run compared other candidates than the configured ones.

    Returns
    -------
    str
        The version.
    """
    child = candidate_run(tracking, run_id, candidate)
    with tracking.alone():
        _create_name(tracking, name)
        version = _version_of(tracking, name, run_id, served_ref)
        if version is None:
            model = _logged_model(tracking, child, run_id, served, served_ref)
            # Before the version: one without it could never be compared with.
            frozen_path = f"{FROZEN_FOLDER}/{served_ref}"
            tracking.client.log_artifacts(child, str(frozen), frozen_path)
            version = tracking.client.create_model_version(
                name,
                source=model.artifact_location,
                run_id=child,
                model_id=model.model_id,
                description=description,
                tags={
                    RUN_ID: run_id,
                    SERVED_REF: served_ref,
                    WINNER: candidate,
                    MICRO_F1: repr(float(micro_f1)),
                    DATA_DIGEST: data_digest,
                    FROZEN_TEST: frozen_path,
                    MODEL_DIGEST: model.tags[MODEL_DIGEST],
                    **({TRIAL: "true"} if trial else {}),
                },
            )
        if not trial:
            _set_challenger(tracking, name, version.version)
    return str(version.version)


def load_frozen(tracking: Tracking, version: Version, folder: Path) -> bool:
    """Fetch the frozen test of a version.

    Parameters
    ----------
    tracking : Tracking
        The store.
    version : Version
        The version.
    folder : pathlib.Path
        An existing folder; gets what :meth:`tagsage.evaluate.frozen_test.FrozenTest.load` reads.

    Returns
    -------
    bool
        False when there is none: the version is of a tagsage that kept none, or its run or all
        the files were removed.

    Raises
    ------
    DamagedTestError
        When the files are damaged, or some are missing.
    """
    path = version.tags.get(FROZEN_TEST)
    if not path:
        return False
    with tracking.alone(), tempfile.TemporaryDirectory() as scratch:
        try:
            if not tracking.client.list_artifacts(version.run_id, path):
                return False
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise
            return False
        found = tracking.client.download_artifacts(version.run_id, path, scratch)
        try:
            FrozenTest.load(Path(found))
        except TagsageError as error:
            logger.warning("Version %s is not compared with: %s", version.number, error)
            msg = f"what the champion (version {version.number}) answered is damaged in MLflow"
            raise DamagedTestError(msg) from error
        shutil.copytree(found, folder, dirs_exist_ok=True)
    return True


def champion_of(tracking: Tracking, name: str) -> Version | None:
    """Return the version that is champion, or None."""
    with tracking.alone():
        found = by_alias(tracking, name, CHAMPION)
    return None if found is None else Version.of(found)


def load_champion(tracking: Tracking, name: str, *, version: str | None = None) -> PyFuncModel:
    """Load the champion from the registry.

    Parameters
    ----------
    tracking : Tracking
        The store.
    name : str
        Name of the registered model.
    version : str, optional
        A version to load instead: the one that a decision named.

    Returns
    -------
    mlflow.pyfunc.PyFuncModel
        Its ``predict`` takes a frame, or records, with ``title``, ``subtitle`` and ``lists``.

    Raises
    ------
    DamagedModelError
        When the version or its files are gone, or its files cannot be read or are not those that
        were registered: nothing of them is executed then.
    TagsageError
        When there is no champion, or MLflow cannot be asked.
    """
    # Where a workspace removes what killed tasks leave; not in /tmp, which may be memory.
    place = tracking.folder / SCRATCH
    place.mkdir(exist_ok=True)
    # A loaded tagger has read its files, or mapped them: it does not need their names.
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        with tracking.alone(), _gone_is_told(f"Version {version or CHAMPION} of {name!r}"):
            champion = (
                by_alias(tracking, name, CHAMPION)
                if version is None
                else tracking.client.get_model_version(name, version)
            )
            if champion is None:
                msg = (
                    f"The registry at {without_secrets(tracking.uri)} has no champion of the model "
                    f"{name!r}; run the retrain, or name one with `tagsage model promote VERSION`."
                )
                raise TagsageError(msg)
            source = tracking.client.get_model_version_download_uri(name, champion.version)
            folder = _local_folder(source) or _download(tracking, source, Path(scratch, "kept"))
        if not folder.is_dir():
            raise _gone(f"The model in {without_secrets(source)}")
        copy = Path(scratch, "model")
        copy_sealed(folder, copy, champion.tags.get(MODEL_DIGEST))
        return _load(copy, source)


def _download(tracking: Tracking, source: str, folder: Path) -> Path:
    """Fetch a model into a folder, which is made."""
    if not list_artifacts(artifact_uri=source, tracking_uri=tracking.uri):
        raise _gone(f"The model in {without_secrets(source)}")
    folder.mkdir()
    return Path(
        download_artifacts(artifact_uri=source, dst_path=str(folder), tracking_uri=tracking.uri)
    )


def _load(folder: Path, source: str) -> PyFuncModel:
    try:
        return load_model(str(folder))
    except (TagsageError, MemoryError):
        raise
    except Exception as error:
        # What a damaged file makes of a library's reader is any error whatever.
        msg = (
            f"The model in {without_secrets(source)} cannot be loaded ({type(error).__name__}: "
            f"{error}); {REMEDY}."
        )
        raise DamagedModelError(msg) from error


def _gone(what: str) -> DamagedModelError:
    return DamagedModelError(f"{what} is gone; {REMEDY}.")


def _local_folder(uri: str) -> Path | None:
    """Return the folder that a URI names; None when it is not one of this machine."""
    parts = urlsplit(uri)
    if parts.scheme not in {"", "file"}:
        return None
    return Path(url2pathname(parts.path) if parts.scheme else uri)


@contextmanager
def _gone_is_told(what: str) -> Generator[None]:
    """Tell what MLflow does not have from an MLflow that does not answer."""
    try:
        yield
    except (MlflowException, requests.HTTPError) as error:
        if isinstance(error, MlflowException):
            missing = error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST)
        else:
            missing = error.response is not None and error.response.status_code == NOT_FOUND
        if not missing:
            raise
        raise _gone(what) from None


def _create_name(tracking: Tracking, name: str) -> None:
    try:
        tracking.client.create_registered_model(
            name, description="Tags articles from their text and their reading lists (tagsage)."
        )
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise


def _version_of(tracking: Tracking, name: str, run_id: str, served_ref: str) -> ModelVersion | None:
    """Return the version that a run registered for this model before, or None."""
    found = [
        version
        for version in tracking.client.search_model_versions(f"name = '{name}'")
        if version.tags.get(RUN_ID) == run_id and version.tags.get(SERVED_REF) == served_ref
    ]
    return found[0] if found else None


def _logged_model(
    tracking: Tracking, child: str, run_id: str, served: Path, served_ref: str
) -> LoggedModel:
    """Return the child run's logged model; one that a killed task left unfinished is replaced."""
    client = tracking.client
    for model in client.search_logged_models(
        [tracking.experiment_id], filter_string=f"source_run_id = '{child}'"
    ):
        if str(model.status) != "READY":
            client.delete_logged_model(model.model_id)
        elif model.tags.get(SERVED_REF) == served_ref:
            return model
    model = client.create_logged_model(
        tracking.experiment_id,
        name=MODEL_NAME,
        source_run_id=child,
        tags={RUN_ID: run_id, SERVED_REF: served_ref},
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        save_servable(
            served,
            folder,
            Model(
                artifact_path=model.artifact_location,
                model_uuid=model.model_id,
                run_id=child,
                model_id=model.model_id,
            ),
        )
        client.set_logged_model_tags(model.model_id, {MODEL_DIGEST: seal(folder)})
        client.log_model_artifacts(model.model_id, str(folder))
    client.log_outputs(child, [LoggedModelOutput(model.model_id, step=0)])
    return client.finalize_logged_model(model.model_id, "READY")


def by_alias(tracking: Tracking, name: str, alias: str) -> ModelVersion | None:
    """Return the version that has an alias, or None; call it within ``tracking.alone()``."""
    try:
        return tracking.client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        missing: set[Any] = {
            ErrorCode.Name(INVALID_PARAMETER_VALUE),
            ErrorCode.Name(RESOURCE_DOES_NOT_EXIST),
        }
        if error.error_code in missing:
            return None
        raise


def _set_challenger(tracking: Tracking, name: str, version: str | int) -> None:
    """Give a version the alias, unless a later version has it: an old run was run again."""
    holder = by_alias(tracking, name, CHALLENGER)
    if holder is None or int(holder.version) < int(version):
        tracking.client.set_registered_model_alias(name, CHALLENGER, str(version))

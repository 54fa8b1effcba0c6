"""The versions of the registered model: registered, listed, and loaded again.

A version's tags are its run, its candidate, the score on the test part, the digests of the corpus
and of its files; its run keeps the frozen test (`tagsage.evaluate.frozen_test`).
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from mlflow.artifacts import download_artifacts, list_artifacts
from mlflow.entities import LoggedModel, LoggedModelOutput
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.pyfunc import PyFuncModel, load_model

from tagsage.errors import TagsageError
from tagsage.redact import redact
from tagsage.registry.checksums import REMEDY, DamagedModelError, digest_of, keep_registered_files
from tagsage.registry.pyfunc import save_pyfunc
from tagsage.registry.runs import RUN_ID, TRIAL, candidate_run
from tagsage.registry.tracking import Tracking, is_missing, translated

logger = logging.getLogger(__name__)

CHAMPION, CHALLENGER = "champion", "challenger"  # aliases
# Tags of a version.
CANDIDATE = "tagsage.candidate"
MICRO_F1 = "tagsage.test_micro_f1"
DATA_DIGEST = "tagsage.data_digest"
TAGGER_REF = "tagsage.tagger"
MODEL_DIGEST = "tagsage.model_digest"
FROZEN_TEST = "tagsage.frozen_test"
REFRESHED_FROM = "tagsage.refreshed_from"
STATES_DIGEST = "tagsage.states_digest"
# A tag of the registered model: who pinned the champion.
PINNED = "tagsage.pinned"


class DamagedTestError(TagsageError):
    """The frozen test of a version exists but cannot be read."""


@dataclass(frozen=True)
class Version:
    """A version of the registered model: `run_id` is MLflow's, `created_ms` since 1970."""

    number: str
    run_id: str
    tags: Mapping[str, str]
    created_ms: int = 0
    aliases: tuple[str, ...] = ()

    @property
    def micro_f1(self) -> float | None:
        """Micro-F1 on its own test part."""
        value = self.tags.get(MICRO_F1)
        return None if value is None else float(value)

    @property
    def candidate(self) -> str:
        """Its candidate, ``feature_set:classifier``."""
        return self.tags.get(CANDIDATE, "")

    @property
    def origin(self) -> str:
        """The version whose weights it has: itself, unless it was refreshed."""
        return self.tags.get(REFRESHED_FROM, self.number)


@dataclass(frozen=True)
class RegisteredModel:
    """The registered model as it is now, its newest version first."""

    name: str
    versions: tuple[Version, ...] = ()
    pinned: str = ""  # who pinned it, when and why; or empty

    @property
    def champion(self) -> Version | None:
        """The version that is champion."""
        return next((one for one in self.versions if CHAMPION in one.aliases), None)

    def version(self, number: str) -> Version:
        """Return a version; raises `TagsageError` when there is none of this number."""
        for one in self.versions:
            if one.number == number:
                return one
        raise TagsageError(
            f"The model {self.name!r} has no version {number[:40]!r}; `tagsage model list` shows "
            "those that it has."
        )


def registered_model(tracking: Tracking, name: str) -> RegisteredModel:
    """Return the registered model with its versions, as it is now."""
    with translated(tracking.uri):
        try:
            model = tracking.client.get_registered_model(name)
        except MlflowException as error:
            if is_missing(error):
                return RegisteredModel(name)
            raise
        found = _versions_of(tracking, name)
    aliases: dict[str, list[str]] = {}
    for alias, number in sorted(model.aliases.items()):
        aliases.setdefault(str(number), []).append(alias)
    versions = [
        Version(
            number=str(one.version),
            run_id=str(one.run_id or ""),
            tags=dict(one.tags),
            created_ms=int(one.creation_timestamp),
            aliases=tuple(aliases.get(str(one.version), ())),
        )
        for one in found
    ]
    versions.sort(key=lambda version: -int(version.number))
    return RegisteredModel(name, tuple(versions), model.tags.get(PINNED, ""))


def register_version(
    tracking: Tracking,
    run_id: str,
    candidate: str,
    *,
    name: str,
    tagger: Path,
    tagger_ref: str,
    frozen: Path,
    micro_f1: float,
    data_digest: str,
    description: str,
    trial: bool = False,
) -> str:
    """Register a run's winner as a new version; it gets the alias ``challenger``.

    The version of a `trial` is marked by a tag instead. Called again for the same run and
    `tagger_ref`, it returns the version that it made before.
    """
    child = candidate_run(tracking, run_id, candidate)
    with tracking.locked():
        try:
            tracking.client.create_registered_model(
                name, description="Tags articles from their text and their reading lists (tagsage)."
            )
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
        own = {RUN_ID: run_id, TAGGER_REF: tagger_ref}
        number = find_version(tracking, name, own)
        if not number:
            # First, because a version without its test could never be compared.
            frozen_path = f"frozen_test/{tagger_ref}"
            tracking.client.log_artifacts(child, str(frozen), frozen_path)
            tags = {
                CANDIDATE: candidate,
                MICRO_F1: repr(float(micro_f1)),
                DATA_DIGEST: data_digest,
                FROZEN_TEST: frozen_path,
                **({TRIAL: "true"} if trial else {}),
            }
            number = create_version(
                tracking, name, child, own, tagger=tagger, tags=tags, description=description
            )
        holder = tracking.client.get_registered_model(name).aliases.get(CHALLENGER, 0)
        # An older run that runs again does not take the alias from a later one.
        if not trial and int(holder) < int(number):
            tracking.client.set_registered_model_alias(name, CHALLENGER, number)
    return number


def find_version(tracking: Tracking, name: str, own: Mapping[str, str]) -> str:
    """Return the number of the version with some tags; empty when there is none."""
    found = (one for one in _versions_of(tracking, name) if own.items() <= one.tags.items())
    return next((str(one.version) for one in found), "")


def create_version(
    tracking: Tracking,
    name: str,
    mlflow_run: str,
    own: Mapping[str, str],
    *,
    tagger: Path,
    tags: Mapping[str, str],
    description: str,
    trained_by: str = "",
) -> str:
    """Save a tagger's folder as a model of a run in MLflow, and register it; return its number.

    Its tags are `own`, by which it is found again, and `tags`. `trained_by` is the run that it
    belongs to, by default the same.
    """
    model = _logged_model(tracking, mlflow_run, own, tagger)
    version = tracking.client.create_model_version(
        name,
        source=model.artifact_location,
        run_id=trained_by or mlflow_run,
        model_id=model.model_id,
        description=description,
        tags={**tags, **own, MODEL_DIGEST: model.tags[MODEL_DIGEST]},
    )
    return str(version.version)


def load_version(tracking: Tracking, name: str, version: str = "") -> PyFuncModel:
    """Load a version of the registered model; without a number the champion.

    Raises `DamagedModelError`, and executes nothing, when the version or its files are gone or
    other than registered; `TagsageError` when there is no champion, or MLflow does not answer.
    """
    if not version:
        champion = registered_model(tracking, name).champion
        if champion is None:
            msg = (
                f"The registry at {redact(tracking.uri)} has no champion of the model {name!r}; "
                "run the retrain, or name one with `tagsage model promote VERSION`."
            )
            raise TagsageError(msg)
        version = champion.number
    # Where a workspace removes what killed tasks leave; not in /tmp, which may be memory.
    place = tracking.folder / "scratch"
    place.mkdir(exist_ok=True)
    # A loaded tagger has read its files, or mapped them: it does not need their names.
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        with tracking.locked(), _gone_is_damaged(f"Version {version} of the model {name!r}"):
            found = tracking.client.get_model_version(name, version)
            source = tracking.client.get_model_version_download_uri(name, version)
            if not list_artifacts(artifact_uri=source, tracking_uri=tracking.uri):
                raise FileNotFoundError(source)
            folder = Path(
                download_artifacts(artifact_uri=source, dst_path=scratch, tracking_uri=tracking.uri)
            )
        keep_registered_files(folder, found.tags.get(MODEL_DIGEST, ""))
        try:
            return load_model(str(folder))
        except (TagsageError, MemoryError):
            raise
        except Exception as error:
            # A library's reader may raise any error on a damaged file.
            msg = (
                f"Version {version} of the model {name!r} cannot be loaded "
                f"({type(error).__name__}: {error}); {REMEDY}."
            )
            raise DamagedModelError(msg) from error


def load_frozen(tracking: Tracking, version: Version, folder: Path) -> bool:
    """Fetch a version's frozen test into a folder; False if it is gone.

    Raises `DamagedTestError` when files are damaged or missing.
    """
    # Here, not above: its features import scikit-learn, which takes seconds.
    from tagsage.evaluate.frozen_test import FrozenTest

    path = version.tags.get(FROZEN_TEST, "")
    with tracking.locked(), tempfile.TemporaryDirectory() as scratch:
        try:
            if not path or not tracking.client.list_artifacts(version.run_id, path):
                return False
        except MlflowException as error:
            if is_missing(error):
                return False
            raise
        found = Path(tracking.client.download_artifacts(version.run_id, path, scratch))
        try:
            FrozenTest.load(found)
        except TagsageError as error:
            logger.warning("Version %s is not compared with: %s", version.number, error)
            msg = f"the frozen test of the champion (version {version.number}) is damaged in MLflow"
            raise DamagedTestError(msg) from error
        shutil.copytree(found, folder, dirs_exist_ok=True)
    return True


def _versions_of(tracking: Tracking, name: str) -> list[ModelVersion]:
    quote = '"' if "'" in name else "'"
    return list(tracking.client.search_model_versions(f"name = {quote}{name}{quote}"))


@contextmanager
def _gone_is_damaged(what: str) -> Generator[None]:
    """Turn errors about missing things into `DamagedModelError`; others pass."""
    try:
        yield
    except (MlflowException, requests.HTTPError, FileNotFoundError) as error:
        if not is_missing(error):
            raise
        raise DamagedModelError(f"{what} is gone; {REMEDY}.") from None


def _logged_model(
    tracking: Tracking, child: str, tags: Mapping[str, str], tagger: Path
) -> LoggedModel:
    """Return the child run's logged model; one that a killed task left unfinished is replaced."""
    client = tracking.client
    for model in client.search_logged_models(
        [tracking.experiment_id], filter_string=f"source_run_id = '{child}'"
    ):
        if str(model.status) != "READY":
            client.delete_logged_model(model.model_id)
        elif tags.items() <= model.tags.items():
            return model
    model = client.create_logged_model(
        tracking.experiment_id, name="tagger", source_run_id=child, tags=dict(tags)
    )
    identity = Model(
        artifact_path=model.artifact_location,
        model_uuid=model.model_id,
        run_id=child,
        model_id=model.model_id,
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        save_pyfunc(tagger, folder, identity)
        client.set_logged_model_tags(model.model_id, {MODEL_DIGEST: digest_of(folder)})
        client.log_model_artifacts(model.model_id, str(folder))
    client.log_outputs(child, [LoggedModelOutput(model.model_id, step=0)])
    return client.finalize_logged_model(model.model_id, "READY")

"""The registry: the night's winner becomes a version, and the better one the champion.

Each version carries what promotion needs as tags: the score on the test part, the digest of the
corpus it was measured on, and, afterwards, the decision and its numbers. So a decision can be
understood, and repeated after a kill, from the registry alone.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlflow.artifacts import download_artifacts
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
from tagsage.tracking.mlflow_models import Model, PyFuncModel, load_model
from tagsage.tracking.runs import RUN_ID, candidate_run, log_results
from tagsage.tracking.servable import save_servable
from tagsage.tracking.store import Tracking, without_secrets

CHALLENGER = "challenger"
CHAMPION = "champion"
MICRO_F1 = "tagsage.test_micro_f1"
DATA_DIGEST = "tagsage.data_digest"
TARGET_TAGS = "tagsage.target_tags_digest"
SERVED_REF = "tagsage.served"
WINNER = "tagsage.candidate"
DECISION = "tagsage.decision"
MODEL_NAME = "tagger"


@dataclass(frozen=True)
class Decision:
    """What promotion decided, and why.

    Attributes
    ----------
    promoted : bool
        Whether the challenger is now champion.
    reason : str
        One plain sentence with the numbers.
    challenger_version, champion_version : str
        Versions in the registry; `champion_version` is the champion before the decision, empty
        when there was none.
    challenger_micro_f1, champion_micro_f1 : float or None
        Micro-F1 of each on its test part.
    same_data : bool
        Whether both were measured on the same corpus.
    """

    promoted: bool
    reason: str
    challenger_version: str
    champion_version: str
    challenger_micro_f1: float | None
    champion_micro_f1: float | None
    same_data: bool


def register_winner(
    tracking: Tracking,
    run_id: str,
    candidate: str,
    *,
    name: str,
    served: Path,
    served_ref: str,
    micro_f1: float,
    data_digest: str,
    tags_digest: str,
    description: str,
) -> str:
    """Register the night's winner as a new version with the alias ``challenger``.

    Called again for the same night and the same model it returns the version it made before.

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
        Folder that :func:`tagsage.tracking.servable.write_served` filled.
    served_ref : str
        Tells this model from another of the same night, made after its input changed.
    micro_f1 : float
        The winner's micro-F1 on the test part.
    data_digest : str
        Digest of the corpus it was measured on.
    tags_digest : str
        Digest of the target tags.
    description : str
        Plain words for people who look at the registry.

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
                    TARGET_TAGS: tags_digest,
                    MICRO_F1: repr(float(micro_f1)),
                    DATA_DIGEST: data_digest,
                },
            )
        _set_alias(tracking, name, CHALLENGER, version.version)
    return str(version.version)


def decide_promotion(
    tracking: Tracking, run_id: str, *, name: str, version: str, margin: float, promote: bool
) -> Decision:
    """Compare the challenger with the champion, and promote it when it is good enough.

    The rule is :func:`promotion_rule`. The decision and its numbers are kept as tags of the
    version and of the night's parent run. Called again for the same version it returns, and
    carries out, the decision made before.

    Parameters
    ----------
    tracking : Tracking
        The store.
    run_id : str
        tagsage's name of the run.
    name : str
        Name of the registered model.
    version : str
        The challenger's version.
    margin : float
        Micro-F1 that the challenger must gain over the champion; may be negative.
    promote : bool
        False: the challenger stays challenger.

    Returns
    -------
    Decision
        What was decided.
    """
    with tracking.alone():
        challenger = tracking.client.get_model_version(name, version)
        kept = challenger.tags.get(DECISION)
        if kept is not None:
            decision = Decision(**json.loads(kept))
        else:
            champion = _by_alias(tracking, name, CHAMPION)
            decision = promotion_rule(
                challenger_version=version,
                challenger_tags=challenger.tags,
                champion_version=str(champion.version) if champion else "",
                champion_tags=champion.tags if champion else {},
                margin=margin,
                promote=promote,
            )
            # Kept before it is carried out: a rerun after a kill must not compare the new champion
            # with itself.
            tracking.client.set_model_version_tag(
                name, version, DECISION, json.dumps(asdict(decision))
            )
        if decision.promoted:
            _set_alias(tracking, name, CHAMPION, version)
    tags = {f"tagsage.promotion.{key}": str(value) for key, value in asdict(decision).items()}
    log_results(tracking, run_id, tags={"tagsage.winner": challenger.tags[WINNER], **tags})
    return decision


def promotion_rule(
    *,
    challenger_version: str,
    challenger_tags: Mapping[str, str],
    champion_version: str,
    champion_tags: Mapping[str, str],
    margin: float,
    promote: bool,
) -> Decision:
    """Decide whether a challenger becomes champion.

    It does when there is no champion yet, when the target tags have changed (the champion then
    knows other tags than the corpus has now, and the scores cannot be compared), or when its
    micro-F1 on its test part is at least the champion's plus `margin`. Scores over the same target
    tags from a corpus that has grown are compared, and the reason says so.

    Parameters
    ----------
    challenger_version, champion_version : str
        Versions; an empty `champion_version` means that there is no champion.
    challenger_tags, champion_tags : mapping of str to str
        Tags of the versions, as :func:`register_winner` writes them.
    margin : float
        Micro-F1 to gain.
    promote : bool
        False: never promote.

    Returns
    -------
    Decision
        The decision with its reason.
    """
    new = _score(challenger_tags)
    old = _score(champion_tags)
    same_data = challenger_tags.get(DATA_DIGEST) == champion_tags.get(DATA_DIGEST)
    if not promote:
        promoted, reason = False, "Not promoted: the setting promote is off."
    elif not champion_version:
        promoted, reason = True, "Promoted: there was no champion yet."
    elif challenger_tags.get(TARGET_TAGS) != champion_tags.get(TARGET_TAGS):
        promoted = True
        reason = (
            f"Promoted: the champion (version {champion_version}) was trained on other target "
            "tags, so it cannot be compared and would miss some."
        )
    elif new is None or old is None:
        which = "challenger" if new is None else f"champion (version {champion_version})"
        promoted, reason = False, f"Not promoted: the {which} carries no test micro-F1."
    else:
        promoted = new >= old + margin
        relation = "is at least" if promoted else "is less than"
        plus = f" plus the margin {margin:g}" if margin else ""
        reason = (
            f"{'Promoted' if promoted else 'Not promoted'}: micro-F1 {new:.4f} {relation} the "
            f"champion's {old:.4f} (version {champion_version}){plus}."
        )
        if not same_data:
            reason += " The two were measured on different corpora."
    return Decision(
        promoted=promoted,
        reason=reason,
        challenger_version=challenger_version,
        champion_version=champion_version,
        challenger_micro_f1=new,
        champion_micro_f1=old,
        same_data=same_data,
    )


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
    TagsageError
        When there is no champion.
    """
    with tracking.alone():
        champion = (
            _by_alias(tracking, name, CHAMPION)
            if version is None
            else tracking.client.get_model_version(name, version)
        )
        if champion is None:
            msg = (
                f"The registry at {without_secrets(tracking.uri)} has no champion of the model "
                f"{name!r}; run the retrain with promote on."
            )
            raise TagsageError(msg)
        source = tracking.client.get_model_version_download_uri(name, champion.version)
        folder = download_artifacts(artifact_uri=source, tracking_uri=tracking.uri)
    return load_model(folder)


def _score(tags: Mapping[str, str]) -> float | None:
    value = tags.get(MICRO_F1)
    return None if value is None else float(value)


def _create_name(tracking: Tracking, name: str) -> None:
    try:
        tracking.client.create_registered_model(
            name, description="Tags articles from their text and their reading lists (tagsage)."
        )
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise


def _version_of(tracking: Tracking, name: str, run_id: str, served_ref: str) -> ModelVersion | None:
    """Return the version that a night registered for this model before, or None."""
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
        client.log_model_artifacts(model.model_id, str(folder))
    client.log_outputs(child, [LoggedModelOutput(model.model_id, step=0)])
    return client.finalize_logged_model(model.model_id, "READY")


def _by_alias(tracking: Tracking, name: str, alias: str) -> ModelVersion | None:
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


def _set_alias(tracking: Tracking, name: str, alias: str, version: str | int) -> None:
    """Give a version the alias, unless a later version has it: an old night was run again."""
    holder = _by_alias(tracking, name, alias)
    if holder is None or int(holder.version) < int(version):
        tracking.client.set_registered_model_alias(name, alias, str(version))

"""The corpus checked before anything is trained on it, by itself and beside the last run's."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.errors import NonRetryableError
from tagsage.run_context import RunContext, Token
from tagsage.stages.common import CORPUS_CODE, QUARANTINE, Ref, load_snapshot, tracking_of

if TYPE_CHECKING:
    from tagsage.corpus.model import Corpus
    from tagsage.report.report_data import Checked
    from tagsage.store.snapshot import Snapshot
    from tagsage.workspace import Artifact

logger = logging.getLogger(__name__)

CHECKED = "checked"
PROFILE_FILE = "profile.json"
# When the run began, and the finished run that it is compared with.
BEGAN = "began"
# Profiles of the last finished runs, the one that began last first.
PROFILES = "profiles.json"
PROFILES_KEPT = 3


def check_corpus(token: Token, corpus: Ref) -> Ref:
    """Check the corpus, and return its ref; what is trained on it waits for that.

    With ``checks=stop`` it was checked before it was loaded, too; the result is found again.

    Raises
    ------
    NonRetryableError
        With ``checks=stop``, when a check fails; names each with its numbers.
    """
    run = RunContext.of(token)
    if run.settings.checks == "off":
        run.record(CHECKED, None)
    else:
        _check(run, load_snapshot(run, corpus))
    return corpus


def check_before_loading(run: RunContext, corpus: Corpus) -> None:
    """With ``checks=stop``, check what was read while the store is as it was.

    What a broken export lacks would be removed from the store, and predictions with it.

    Raises
    ------
    NonRetryableError
        When a check fails.
    """
    from tagsage.store.base import snapshot_of

    if run.settings.checks == "stop":
        _check(run, snapshot_of(corpus))


def _check(run: RunContext, snapshot: Snapshot) -> None:
    """Check a corpus and record that; stop the run where it is to be stopped."""
    artifact = _checked(run, snapshot, _earlier(run))
    run.record(CHECKED, artifact.ref)
    _log(run, artifact)
    failed = artifact.summary["failed"]
    for sentence in failed:
        logger.warning("check failed: %s", sentence)
    if failed and run.settings.checks == "stop":
        msg = (
            f"The corpus was not trained on, because {len(failed)} of "
            f"{len(artifact.summary['checks'])} checks failed: {'; '.join(failed)}. Mend the "
            "corpus, or, if it is meant to be so, run again with --set checks=warn (the field "
            "checks of the form in Airflow) or higher limits (check_…, "
            "max_rejected_share)."
        )
        raise NonRetryableError(msg)


def _checked(run: RunContext, snapshot: Snapshot, earlier: dict[str, Any] | None) -> Artifact:
    from tagsage.settings.checks import ChecksSettings

    quarantine = run.recorded(QUARANTINE) or {"rows": 0, "repairs": []}
    names = {*ChecksSettings.model_fields, "max_rejected_share", "min_tag_articles", "embedder"}
    inputs = {
        "corpus": snapshot.digest,
        "earlier": hashlib.sha256(json.dumps(earlier, sort_keys=True).encode()).hexdigest(),
        "settings": run.settings.model_dump(include=names, exclude={"checks"}),
        "quarantined": quarantine["rows"],
        "repairs": quarantine["repairs"],
    }

    def build(folder: Path) -> dict[str, Any]:
        from tagsage.corpus.profile import Profile, profile_of
        from tagsage.corpus.quarantine import Repairs
        from tagsage.evaluate.corpus_checks import check_corpus

        profile = profile_of(
            snapshot.articles,
            snapshot.article_index,
            snapshot.list_index,
            n_lists=len(snapshot.lists),
            quarantined=int(quarantine["rows"]),
        )
        (folder / PROFILE_FILE).write_text(json.dumps(profile.to_json()), encoding="utf-8")
        checks = check_corpus(
            profile,
            Profile.from_json(earlier["profile"]) if earlier else None,
            run.settings,
            repairs=[Repairs(**one) for one in quarantine["repairs"]],
        )
        return {
            "compared_with": earlier["run_id"] if earlier else "",
            "checks": [asdict(check) for check in checks],
            "failed": [check.sentence() for check in checks if not check.passed],
        }

    return run.artifact("checks", inputs, build, code=(*CORPUS_CODE, "evaluate"))


def checks_of(run: RunContext) -> Checked | None:
    """Return what was checked this run; None when nothing was."""
    from tagsage.report.report_data import Checked

    ref = run.recorded(CHECKED)
    return None if ref is None else Checked(**run.workspace.open(ref).summary)


def keep_profile(run: RunContext) -> None:
    """Keep the profile of a run that is finished: the next one is compared with it.

    It takes its place by when the run began, also when an older one is run again or ends after a
    newer one, so that none is compared with a later one.
    """
    ref = run.recorded(CHECKED)
    if ref is None:
        return
    file = run.workspace.open(ref).path / PROFILE_FILE
    own = {
        "run_id": run.run_id,
        "began": record_start(run)["at"],
        "profile": json.loads(file.read_text(encoding="utf-8")),
    }
    others = [one for one in run.workspace.read_json(PROFILES) or [] if one["run_id"] != run.run_id]
    newest_first = sorted([own, *others], key=lambda one: one["began"], reverse=True)
    run.workspace.write_json(PROFILES, newest_first[:PROFILES_KEPT])


def record_start(run: RunContext) -> dict[str, str]:
    """Record when the run began and which finished one it is compared with; once for all tries.

    Returns ``at`` (ISO 8601, UTC) and ``after`` (a run's id; empty: there was none).
    """

    def find() -> dict[str, str]:
        kept = [one["run_id"] for one in run.workspace.read_json(PROFILES) or []]
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        return {"at": at, "after": next((one for one in kept if one != run.run_id), "")}

    began: dict[str, str] = run.record_once(BEGAN, find)
    return began


def _earlier(run: RunContext) -> dict[str, Any] | None:
    """Return run and profile of the run finished when this one began; None: there is none."""
    after = record_start(run)["after"]
    for one in run.workspace.read_json(PROFILES) or []:
        if one["run_id"] == after:
            return dict(one)
    logger.info("checks: no earlier run to compare the corpus with")
    return None


def _log(run: RunContext, artifact: Artifact) -> None:
    import pandas as pd

    from tagsage.registry.runs import log_results

    summary = artifact.summary
    failed, compared_with = len(summary["failed"]), summary["compared_with"]
    against = f" beside the run {compared_with}" if compared_with else ""
    logger.info("checks: %d of %d failed%s", failed, len(summary["checks"]), against)
    log_results(
        tracking_of(run.settings),
        run.run_id,
        metrics={
            "checks_failed": failed,
            **{f"check_{row['name']}": row["value"] for row in summary["checks"]},
        },
        tags={
            "tagsage.checks_compared_with": compared_with,
            "tagsage.checks_failed": "; ".join(summary["failed"]),
        },
        tables={"checks.csv": pd.DataFrame(summary["checks"])},
    )

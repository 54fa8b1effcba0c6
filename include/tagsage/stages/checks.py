"""The corpus checked before anything is trained on it, by itself and beside the last run's."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.errors import NonRetryableError
from tagsage.run_context import RunContext
from tagsage.stages.artifacts import CORPUS_CODE
from tagsage.stages.backends import log_results

if TYPE_CHECKING:
    from tagsage.report.report_data import Checked
    from tagsage.store.snapshot import Snapshot
    from tagsage.workspace import Artifact

logger = logging.getLogger(__name__)

# What a run records: the profile that its corpus is compared with, which of the source's rows were
# not taken as they came, and the result of the checks.
EARLIER, QUARANTINE, CHECKED = "earlier_profile", "quarantine", "checked"
# In the workspace: the profile of the finished run that began last.
PROFILE = "profile.json"


def check_corpus(run: RunContext, snapshot: Snapshot) -> None:
    """Check the corpus before it is loaded into the store and anything is trained on it.

    With ``checks=stop`` a failed check raises `NonRetryableError`, which names each with its
    numbers.
    """
    if run.settings.checks == "off":
        run.record(CHECKED, None)
        return
    artifact = _checked(run, snapshot)
    run.record(CHECKED, artifact.ref)
    _log(run, artifact.summary)
    failed = artifact.summary["failed"]
    if failed and run.settings.checks == "stop":
        msg = (
            f"The corpus was not trained on, because {len(failed)} of "
            f"{len(artifact.summary['checks'])} checks failed: {'; '.join(failed)}. Mend the "
            "corpus, or, if it is meant to be so, run again with --set checks=warn (the field "
            "checks of the form in Airflow) or higher limits (check_…, "
            "max_rejected_share)."
        )
        raise NonRetryableError(msg)


def _checked(run: RunContext, snapshot: Snapshot) -> Artifact:
    from tagsage.settings.checks import ChecksSettings

    earlier = earlier_profile(run)
    quarantine = run.recorded(QUARANTINE) or {"rows": 0, "repairs": []}
    names = {*ChecksSettings.model_fields, "min_tag_articles", "embedder"}
    inputs = {
        "corpus": snapshot.digest,
        "earlier": hashlib.sha256(json.dumps(earlier, sort_keys=True).encode()).hexdigest(),
        "settings": run.settings.model_dump(include=names, exclude={"checks"}),
        "quarantined": quarantine["rows"],
        "repairs": quarantine["repairs"],
    }

    def build(_: Path) -> dict[str, Any]:
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
        checks = check_corpus(
            profile,
            Profile.from_json(earlier["profile"]) if earlier else None,
            run.settings,
            repairs=[Repairs(**one) for one in quarantine["repairs"]],
        )
        return {
            "profile": profile.to_json(),
            "compared_with": earlier["run_id"] if earlier else "",
            "checks": [asdict(check) for check in checks],
            "failed": [check.sentence() for check in checks if not check.passed],
        }

    return run.artifact("checks", inputs, build, code=(*CORPUS_CODE, "evaluate"))


def _log(run: RunContext, summary: dict[str, Any]) -> None:
    import pandas as pd

    checks, failed, compared_with = (
        summary[name] for name in ("checks", "failed", "compared_with")
    )
    against = f" beside the run {compared_with}" if compared_with else ""
    logger.info("checks: %d of %d failed%s", len(failed), len(checks), against)
    for sentence in failed:
        logger.warning("check failed: %s", sentence)
    log_results(
        run,
        metrics={
            "checks_failed": len(failed),
            **{f"check_{row['name']}": row["value"] for row in checks},
        },
        tags={
            "tagsage.checks_compared_with": compared_with,
            "tagsage.checks_failed": "; ".join(failed),
        },
        tables={"checks.csv": pd.DataFrame(checks)},
    )


def checks_of(run: RunContext) -> Checked | None:
    """Return what was checked this run; None when nothing was."""
    from tagsage.report.report_data import Checked

    ref = run.recorded(CHECKED)
    if ref is None:
        return None
    summary = run.workspace.open(ref).summary
    return Checked(summary["compared_with"], summary["checks"], summary["failed"])


def has_drifted(run: RunContext) -> bool:
    """Return whether a check failed that compares the corpus with the last run's."""
    ref = run.recorded(CHECKED)
    checks = run.workspace.open(ref).summary["checks"] if ref else []
    return any(check["before"] and not check["passed"] for check in checks)


def earlier_profile(run: RunContext) -> dict[str, Any]:
    """Return what :func:`keep_profile` had kept when the run began; empty when there was none."""
    earlier: dict[str, Any] = run.record_once(
        EARLIER, lambda: run.workspace.read_json(PROFILE) or {}
    )
    return earlier


def keep_profile(run: RunContext) -> None:
    """Keep the profile of a run that is finished: runs that begin now are compared with it.

    Unless a later run has finished already: this one was continued, or is run again.
    """
    ref, kept = run.recorded(CHECKED), run.workspace.read_json(PROFILE)
    if ref is None or (kept and datetime.fromisoformat(kept["began"]) > run.started):
        return
    value = {
        "run_id": run.run_id,
        "began": run.started.isoformat(),
        "profile": run.workspace.open(ref).summary["profile"],
    }
    run.workspace.write_json(PROFILE, value)

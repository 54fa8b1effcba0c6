"""The corpus checked before anything is trained on it, by itself and beside the last night's."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.errors import FinalError
from tagsage.night import Night, Token
from tagsage.stages.common import CORPUS_CODE, Ref, load_snapshot, tracking_of
from tagsage.stages.ingest import QUARANTINE

if TYPE_CHECKING:
    from tagsage.report.data import Checked
    from tagsage.workspace import Artifact

logger = logging.getLogger(__name__)

CHECKED = "checked"
PROFILE_FILE = "profile.json"
# Profiles of the last finished nights, the latest first.
PROFILES = "profiles.json"
PROFILES_KEPT = 3


def check_corpus(token: Token, corpus: Ref) -> Ref:
    """Check the corpus; what is trained on it waits for that.

    Returns
    -------
    str
        The ref of the corpus, as it was given.

    Raises
    ------
    FinalError
        With ``checks=stop``, when a check fails; names each with its numbers.
    """
    night = Night.of(token)
    settings = night.settings
    if settings.checks == "off":
        night.note(CHECKED, None)
        return corpus
    earlier = _earlier(night)
    artifact = _checked(night, corpus, earlier)
    night.note(CHECKED, artifact.ref)
    _log(night, artifact)
    failed = artifact.summary["failed"]
    for sentence in failed:
        logger.warning("check failed: %s", sentence)
    if failed and settings.checks == "stop":
        msg = (
            f"The corpus was not trained on, for {len(failed)} of "
            f"{len(artifact.summary['checks'])} checks failed: {'; '.join(failed)}. Mend the "
            "corpus, or, if it is meant to be so, run again with --set checks=warn (the field "
            "checks of the form in Airflow) or higher limits (check_…)."
        )
        raise FinalError(msg)
    return corpus


def _checked(night: Night, corpus: Ref, earlier: dict[str, Any] | None) -> Artifact:
    settings = night.settings
    limits = {
        "psi": settings.check_psi,
        "words": settings.check_words_distance,
        "tags": settings.check_tags_distance,
        "new_words": settings.check_new_words,
        "tags_gone": settings.check_tags_gone,
        "share_rise": settings.check_share_rise,
        "count_fall": settings.check_count_fall,
        "largest_list": settings.check_largest_list,
    }
    quarantined = int((night.noted(QUARANTINE) or {"rows": 0})["rows"])
    inputs = {
        "corpus": corpus,
        "earlier": _digest(earlier),
        "limits": limits,
        "quarantined": quarantined,
        "min_tag_articles": settings.min_tag_articles,
        "with_text": settings.embedder != "none",
    }

    def build(folder: Path) -> dict[str, Any]:
        from tagsage.corpus.checks import Limits, check_corpus
        from tagsage.corpus.profile import Profile, profile_of

        snapshot = load_snapshot(night, corpus)
        profile = profile_of(
            snapshot.articles,
            snapshot.article_index,
            snapshot.list_index,
            n_lists=len(snapshot.lists),
            quarantined=quarantined,
        )
        (folder / PROFILE_FILE).write_text(json.dumps(profile.to_json()), encoding="utf-8")
        checks = check_corpus(
            profile,
            Profile.from_json(earlier["profile"]) if earlier else None,
            Limits(**limits),
            min_tag_articles=settings.min_tag_articles,
            with_text=settings.embedder != "none",
        )
        return {
            "compared_with": earlier["run_id"] if earlier else "",
            "checks": [check.to_json() for check in checks],
            "failed": [check.sentence() for check in checks if not check.passed],
        }

    return night.artifact("checks", inputs, build, code=CORPUS_CODE)


def checks_of(night: Night) -> Checked | None:
    """Return what was checked tonight; None when nothing was."""
    from tagsage.report.data import Checked

    ref = night.noted(CHECKED)
    if ref is None:
        return None
    return Checked(**night.workspace.open(ref).summary)


def keep_profile(night: Night) -> None:
    """Keep the profile of a night that is finished: the next one is compared with it.

    A night that is run again takes its own place, so that it is never compared with itself or with
    a later one.
    """
    ref = night.noted(CHECKED)
    if ref is None:
        return
    file = night.workspace.open(ref).path / PROFILE_FILE
    mine = {
        "run_id": night.run_id,
        "profile": json.loads(file.read_text(encoding="utf-8")),
    }
    kept = night.workspace.read_json(PROFILES) or []
    if any(one["run_id"] == night.run_id for one in kept):
        kept = [mine if one["run_id"] == night.run_id else one for one in kept]
    else:
        kept = [mine, *kept][:PROFILES_KEPT]
    night.workspace.write_json(PROFILES, kept)


def _earlier(night: Night) -> dict[str, Any] | None:
    """Return run and profile of the night finished before this one; None when there is none."""
    from tagsage.corpus.profile import Profile

    kept = night.workspace.read_json(PROFILES) or []
    runs = [one["run_id"] for one in kept]
    place = runs.index(night.run_id) + 1 if night.run_id in runs else 0
    if place >= len(kept):
        logger.info("checks: no earlier night to compare the corpus with")
        return None
    found: dict[str, Any] = kept[place]
    try:
        Profile.from_json(found["profile"])
    except (KeyError, TypeError, ValueError, AttributeError):
        logger.warning(
            "checks: the profile of the run %s is of another version of tagsage; "
            "nothing is compared tonight",
            found["run_id"],
        )
        return None
    return found


def _digest(earlier: dict[str, Any] | None) -> str:
    if earlier is None:
        return ""
    text = json.dumps(earlier, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _log(night: Night, artifact: Artifact) -> None:
    import pandas as pd

    from tagsage.tracking.runs import log_results

    summary = artifact.summary
    checks = pd.DataFrame(summary["checks"])
    failed = len(summary["failed"])
    against = f" beside the run {summary['compared_with']}" if summary["compared_with"] else ""
    logger.info("checks: %d of %d failed%s", failed, len(checks), against)
    log_results(
        tracking_of(night.settings),
        night.run_id,
        metrics={
            "checks_failed": failed,
            **{f"check_{row['name']}": row["value"] for row in summary["checks"]},
        },
        tags={
            "tagsage.checks_compared_with": summary["compared_with"],
            "tagsage.checks_failed": "; ".join(summary["failed"]),
        },
        tables={"checks.csv": checks},
    )

"""Which candidates a run compares: all of them, or the best of the last run that compared all."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict

from tagsage.run_context import RunContext, Token
from tagsage.stages.artifacts import IDS_FILE, Ref, load_labels
from tagsage.stages.backends import tracking_of
from tagsage.stages.checks import has_drifted
from tagsage.stages.earlier_run import earlier_artifact, earlier_run, recipe

# What a run records.
COMPARED = "compared"
# Runs of a schedule begin at nearly the same time of the day: the week is a little shorter.
WEEK = timedelta(days=6, hours=12)


class Compared(TypedDict):
    """Which candidates a run compares, and why."""

    what: Literal["all", "finalists"]
    why: str
    candidates: list[str]


def candidate_names(token: Token) -> list[str]:
    """Return the candidates that the run compares, as ``feature_set:classifier``."""
    return compared(RunContext.of(token))["candidates"]


def compared(run: RunContext) -> Compared:
    """Choose the candidates, after the checks; the same whenever the run asks.

    Finalists are the best on text and the best with lists of the last run that compared all, and
    the champion's candidate.
    """

    def choose() -> Compared:
        names = [":".join(pair) for pair in run.settings.parsed_candidates()]
        why = why_all(run)
        if why:
            return {"what": "all", "why": why, "candidates": names}
        earlier = earlier_run(run)
        chosen = {*earlier["finalists"], _candidate_of_champion(run)}
        began = datetime.fromisoformat(earlier["compared_all"])
        why = f"all were compared in the run of {began:%d %B %Y}, and little has changed since"
        return {"what": "finalists", "why": why, "candidates": [n for n in names if n in chosen]}

    found: Compared = run.record_once(COMPARED, choose)
    return found


def why_all(run: RunContext) -> str:
    """Say why all candidates have to be compared; empty when the finalists are enough."""
    earlier = earlier_run(run)
    if run.settings.compare == "all":
        return "compare=all"
    if run.is_trial:
        return "a trial"
    if not earlier:
        return "the first run"
    if earlier["recipe"] != recipe(run):
        return "settings or the program have changed since the last run"
    if run.started - datetime.fromisoformat(earlier["compared_all"]) >= WEEK:
        return "a week has passed since all were compared"
    return "the corpus has drifted from that of the last run" if has_drifted(run) else ""


def what_was_compared(run: RunContext, ranking: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what later runs ask: when all were compared, and the finalists of that run."""
    from tagsage.evaluate.leaderboard import best_text_and_graph

    if compared(run)["what"] == "finalists":
        return {name: earlier_run(run)[name] for name in ("compared_all", "finalists")}
    best = [ranking[0], *best_text_and_graph(ranking).values()]
    finalists = list(dict.fromkeys(row["candidate"] for row in best))
    return {"compared_all": run.started.isoformat(), "finalists": finalists}


def wanted_blocks(run: RunContext) -> set[str]:
    """Return the blocks that some candidate of the run uses."""
    from tagsage.features import blocks_of

    sets = (name.partition(":")[0] for name in compared(run)["candidates"])
    return {block for feature_set in sets for block in blocks_of(feature_set)}


def chosen_before(run: RunContext, split: Ref, candidate: str) -> Ref:
    """Return the last run's candidate whose calibration, thresholds and epochs are taken over.

    Empty when all candidates are compared, when the target tags are others, and when an article
    that it was fitted on is in this run's test part.
    """
    import numpy as np

    before, ref = (earlier_artifact(run, name) for name in ("split", f"candidate {candidate}"))
    if compared(run)["what"] == "all" or not (before and ref):
        return ""
    if before == split:
        # Fitted in the same way, it is found again.
        like = str(run.workspace.open(ref).summary["like"])
        return like if not like or run.workspace.exists(like) else ref
    then, now = (load_labels(run, one) for one in (before, split))
    ids, ids_now = (np.load(run.workspace.open(one).path / IDS_FILE) for one in (before, split))
    moved = np.isin(ids[then.train], ids_now[now.test]).any()
    return "" if moved or then.tags != now.tags else ref


def _candidate_of_champion(run: RunContext) -> str:
    from tagsage.registry.versions import registered_model

    champion = registered_model(tracking_of(run.settings), run.settings.registered_model).champion
    return champion.candidate if champion else ""

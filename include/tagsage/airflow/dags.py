"""What both DAGs share: the asset between them, their schedules, and their arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetOrTimeSchedule, CronTriggerTimetable

from tagsage.airflow.form import trigger_form
from tagsage.airflow.notifications import notifications, on_failure
from tagsage.airflow.tasks import DEFAULT_ARGS

if TYPE_CHECKING:
    from tagsage.settings import Settings

# Updated when a harvest has brought something that the nightly run has not read yet.
CORPUS = Asset("tagsage_corpus")


def timetable(cron: str, *assets: Asset) -> CronTriggerTimetable | AssetOrTimeSchedule | None:
    """Return a schedule: by a cron expression in UTC (``never``: only by hand), and by assets."""
    if cron == "never":
        return None
    by_cron = CronTriggerTimetable(cron, timezone="UTC")
    return AssetOrTimeSchedule(timetable=by_cron, assets=[*assets]) if assets else by_cron


def dag_arguments(
    defaults: Settings, form: Mapping[str, tuple[str, ...]], *, on_success: bool = True
) -> dict[str, Any]:
    """Return a DAG's arguments; `form` has the settings that the trigger form shows, by section."""
    return {
        "catchup": False,
        "max_active_runs": 1,
        "params": trigger_form(defaults, form),
        "default_args": DEFAULT_ARGS | on_failure(defaults),
        "tags": ["tagsage"],
        **notifications(defaults, on_success=on_success),
    }

"""Harvest reading lists, feeds and the articles in them from Medium's hosts.

Slowly, honestly, and only what you have named: one request at a time and host, 10 seconds apart,
robots.txt obeyed, and no way round a refusal. Whether you may fetch pages at all is for you to find
out; docs/harvest.md says how to ask, and how to bring an export of your own instead.

**When.** Every six hours (`TAGSAGE_HARVEST_SCHEDULE`), once `TAGSAGE_HARVEST_SEEDS` names lists or
feeds; until then only by hand. One run at a time. While another harvest works in the same folder
it cannot begin; a nightly run then reads what is there.

**What it needs.** `harvest_contact`, a mail address or web page that every host is told; for pages
of lists and articles `harvest_consent`, which says that you may. Feeds need no consent.

**How it ends.** *done*: nothing is due any more. *budget spent*: the next run goes on
(`harvest_max_requests`, `harvest_max_minutes`, `harvest_max_mb`). *stopped by the host*: it showed
a challenge or kept refusing; it is left alone for `harvest_pause_hours`. None of these is a
failure, and whatever was fetched is kept.

**What follows.** When articles or memberships have changed and the nightly run reads them
(`corpus=harvest`), the asset `tagsage_corpus` is updated, and the DAG `retrain` starts.

**If it fails.** The last line of the task's log says what happened and what to do. A task that is
killed goes on where it was when it is cleared.
"""

from __future__ import annotations

from airflow.sdk import CronTriggerTimetable, dag, task
from airflow.sdk.exceptions import AirflowSkipException

from tagsage import stages
from tagsage.settings import Settings
from tagsage_notifications import last_words, notifications
from tagsage_wiring import CORPUS, DEFAULT_ARGS, HARVEST_TIMEOUT, first, light, trigger_form

# The form's defaults and the schedule: those of the environment in which the DAG is parsed.
DEFAULTS = Settings.resolve()

FORM = {
    "What to harvest": ("harvest_seeds", "harvest_contact", "harvest_consent", "workspace"),
    "How gently": ("harvest_delay_s", "harvest_articles", "harvest_pause_hours"),
    "How much": ("harvest_max_requests", "harvest_max_minutes", "harvest_max_mb"),
    "What follows": ("corpus",),
}


@dag(
    schedule=None
    if DEFAULTS.harvest_schedule == "never" or not DEFAULTS.harvest_seeds
    else CronTriggerTimetable(DEFAULTS.harvest_schedule, timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    params=trigger_form(DEFAULTS, FORM),
    default_args=DEFAULT_ARGS | last_words(DEFAULTS),
    doc_md=__doc__,
    tags=["tagsage"],
    # It runs several times a day; how it went is in the night's report.
    **notifications(DEFAULTS, on_success=False),
)
def harvest():
    """Wire the stages; what a harvest does is told in the module's docstring."""

    @task(outlets=[CORPUS])
    def announce(run: dict, harvested: dict) -> None:
        if not stages.announce(run, harvested):
            raise AirflowSkipException("Nothing that the nightly run reads has changed.")

    run = first(stages.prepare_harvest)()
    harvested = light(
        stages.harvest_seeds, execution_timeout=HARVEST_TIMEOUT, multiple_outputs=False
    )(run)
    announce(run, harvested)


harvest()

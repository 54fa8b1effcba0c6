"""Harvest reading lists, feeds and the articles in them from Medium's hosts.

It is slow and honest, and fetches only what you have named: one request at a time per host, 10
seconds apart. It obeys robots.txt and never tries to get around a refusal. You have to find out
whether you may fetch pages; docs/harvest.md says how, and what Medium's account export brings
without fetching.

**When.** Every six hours (`TAGSAGE_HARVEST_SCHEDULE`), once `TAGSAGE_HARVEST_SEEDS` names lists or
feeds; until then only by hand. One run at a time. It fails while another harvest works in the same
folder; a nightly run then reads what is there.

**What it needs.** `harvest_contact`, a mail address or web page that every host gets. For pages of
lists and articles also `harvest_consent`, which says that you may. Feeds need no consent.

**How it ends.** *done*: there is nothing left to do. *budget spent*: the next run continues
(`harvest_max_requests`, `harvest_max_minutes`). *stopped by the host*: a host showed a challenge or
kept refusing, and is left alone for 12 hours. None of these is a failure, and what was fetched is
kept.

**What follows.** When articles or memberships have changed and the nightly run reads them
(`corpus=harvest`), the asset `tagsage_corpus` is updated, and the DAG `retrain` starts.

**If it fails.** The last line of the task's log says what happened and what to do. Clear the task:
it continues where it was.
"""

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowSkipException

from tagsage.airflow.connections import stages_with_connections
from tagsage.airflow.dags import CORPUS, dag_arguments, timetable
from tagsage.airflow.form import HARVEST_FORM, with_form
from tagsage.airflow.tasks import HARVEST
from tagsage.settings import Settings

# The schedule and the form's defaults are those of the environment at parse time.
DEFAULTS = Settings.resolve()


@dag(
    schedule=timetable(DEFAULTS.harvest_schedule if DEFAULTS.harvest_seeds else "never"),
    doc_md=__doc__,
    # It runs several times a day; the report of the nightly run says how it went.
    **dag_arguments(DEFAULTS, HARVEST_FORM, on_success=False),
)
def harvest():
    """Run the stages of a harvest."""
    stages = stages_with_connections()

    @task(outlets=[CORPUS])
    def announce(run, harvested):
        if not stages.announce(run, harvested):
            raise AirflowSkipException("Nothing that the nightly run reads has changed.")

    run = task(with_form(stages.prepare_harvest))()
    harvested = task(stages.harvest_seeds, **HARVEST, multiple_outputs=False)(run)
    announce(run, harvested)


harvest()

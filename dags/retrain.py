"""Retrain the tagger: the nightly run.

Reads the corpus and checks it, turns texts and lists into features, compares the candidates on one
frozen split, registers the best in MLflow, promotes it when it is surely better than the champion,
and writes tags for every article that has none.

**When.** Every night at 02:00 (`TAGSAGE_SCHEDULE`), when the DAG `harvest` has brought something
new, or by hand: *Trigger* opens a form with the settings most often changed. Every other setting
comes from the environment (`TAGSAGE_…`; `tagsage settings` lists them). One run at a time. A run
whose *candidates* are not those of the environment is a trial: it changes neither the champion nor
the leaderboard of the pages.

**What it costs.** Nothing, unless the embedder is `openai`: then each new text is paid for once, up
to `openai_max_dollars` a run. The log of `plan_vectors` says beforehand what is to come, that of
`collect_vectors` what was spent. With `openai_mode=batch`, half the price, `await_job` looks after
the batches without a worker, for 50 hours at most.

**If it fails.** The last line of the failed task's log says what happened and what to do. A task is
tried three times, but only once where that cannot help: a wrong setting, a key that is refused, a
quota that is used up, a ceiling that is reached. Clear the task, or trigger the DAG again: what is
done is found in the workspace and not done twice.

**Who is told.** Whom `TAGSAGE_NOTIFY_ON_FAILURE` and `TAGSAGE_NOTIFY_ON_SUCCESS` name, by any
notifier of Airflow (docs/configure.md). docs/on-call.md is for those who are.

**What it leaves.** `predictions.csv`, `changes.csv`, `suggestions.csv`, `leaderboard.csv`,
`metrics.json`, `report.html` and `quarantine/` in the workspace, and `catalogue.db`, which
[the pages](/tagsage/) show; a parent run with a child a candidate in MLflow; predicted and
suggested tags in the store.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag, task, task_group

from tagsage import stages
from tagsage.settings import Settings
from tagsage_connections import with_connections
from tagsage_notifications import last_words, notifications
from tagsage_wiring import (
    CORPUS,
    DEFAULT_ARGS,
    HARVEST_TIMEOUT,
    first,
    heavy,
    light,
    trigger_form,
)

# Tasks that have several requests under way each; the server's limits count for all together.
TASKS_ON_LINE = 2
# A batch may take 24 hours, and wait as long before it is let in.
BATCH_TIMEOUT = timedelta(hours=50)

# The form's defaults and the schedule: those of the environment in which the DAG is parsed.
DEFAULTS = Settings.resolve()

FORM = {
    "What to read": ("corpus", "articles", "lists", "workspace", "checks"),
    "How": ("store", "engine", "embedder", "vectors", "seed"),
    "OpenAI": ("openai_model", "openai_dimensions", "openai_mode", "openai_max_dollars"),
    "What to compare": ("candidates", "min_tag_articles", "test_share"),
    "GraphSAGE": (
        "sample_ratio",
        "graphsage_dimensions",
        "graphsage_sample_sizes",
        "graphsage_search_depth",
        "graphsage_epochs",
        "graphsage_learning_rate",
        "graphsage_activation",
        "graphsage_aggregator",
        "graphsage_batch_size",
    ),
    "What follows": ("promote", "promote_margin"),
}


@dag(
    schedule=None
    if DEFAULTS.schedule == "never"
    else AssetOrTimeSchedule(
        timetable=CronTriggerTimetable(DEFAULTS.schedule, timezone="UTC"), assets=[CORPUS]
    ),
    catchup=False,
    max_active_runs=1,
    params=trigger_form(DEFAULTS, FORM),
    default_args=DEFAULT_ARGS | last_words(DEFAULTS),
    doc_md=__doc__,
    tags=["tagsage"],
    **notifications(DEFAULTS),
)
def retrain():
    """Wire the stages; what a night does is told in the module's docstring."""
    night = first(stages.start)()

    @task_group
    def ingest():
        harvested = light(stages.harvest, execution_timeout=HARVEST_TIMEOUT)(night)
        corpus = heavy(stages.load_corpus)(night)
        harvested >> corpus
        # It gives the corpus on: all that follows waits for the checks.
        return heavy(stages.check_corpus)(night, corpus)

    @task_group
    def embed(corpus):
        plan = heavy(stages.plan_vectors)(night, corpus)
        batches = light(stages.vector_batches)(night, plan)
        embedded = (
            heavy(stages.embed_batch)
            .partial(token=night, corpus=corpus, plan=plan)
            .expand(batch=batches)
        )
        # These wait for a server: they take no slot of the CPU pool.
        sent = (
            light(stages.embed_online, max_active_tis_per_dagrun=TASKS_ON_LINE)
            .partial(token=night, corpus=corpus, plan=plan)
            .expand(batch=light(stages.online_batches)(night, plan))
        )

        @task_group
        def job(key):
            # Between two looks at a batch it holds no worker.
            done = task.sensor(
                with_connections(stages.job_done),
                task_id="await_job",
                mode="reschedule",
                poke_interval=DEFAULTS.openai_poll_s,
                timeout=BATCH_TIMEOUT.total_seconds(),
            )(night, key)
            taken = light(stages.take_job)(night, corpus, plan, key)
            done >> taken

        jobs = job.expand(key=light(stages.submit_jobs)(night, corpus, plan))
        # No new text means no batch: the mapped tasks are then skipped, which is no failure.
        vectors = heavy(stages.collect_vectors, trigger_rule="none_failed")(night, corpus, plan)
        [embedded, sent, jobs] >> vectors
        return vectors, heavy(stages.store_vectors)(night, corpus, vectors)

    @task_group
    def graph(corpus, vectors, stored):
        projection = heavy(stages.project)(night, corpus, vectors, stored)
        similarity = heavy(stages.similarity)(night, projection)
        components = heavy(stages.components)(night, similarity)
        sample = heavy(stages.sample)(night, similarity, components)
        return {
            "projection": projection,
            "similarity": similarity,
            "components": components,
            "sample": sample,
            "graphsage": heavy(stages.graphsage)(night, corpus, similarity, sample, vectors),
        }

    @task_group
    def compare(corpus, vectors, graph_refs):
        split = heavy(stages.split)(night, corpus)
        features = heavy(stages.fit_blocks)(night, corpus, split, vectors, graph_refs["graphsage"])

        def fit(name, candidates, **options):
            shown = "{{ task.op_kwargs['candidate'] }}"
            return (
                heavy(stages.fit_candidate, task_id=name, map_index_template=shown, **options)
                .partial(token=night, split=split, features=features)
                .expand(candidate=candidates)
            )

        # Those without lists first: they answer in the others' place for articles in no list.
        alone = fit("fit_without_lists", light(stages.candidates_without_lists)(night))
        others = fit(
            "fit_with_lists",
            light(stages.candidates_with_lists)(night),
            trigger_rule="none_failed",
        )
        alone >> others
        # A leaderboard of one kind alone is no failure.
        board = light(stages.leaderboard, trigger_rule="none_failed")(night, split, alone, others)
        answered = (
            heavy(stages.evaluate_scenario, map_index_template="{{ task.op_kwargs['question'] }}")
            .partial(token=night, corpus=corpus, split=split, features=features, board=board)
            .expand(question=light(stages.scenarios)(night, board))
        )
        # Without a candidate on text and one with lists nothing is asked: no failure.
        found = heavy(stages.findings, trigger_rule="none_failed")(
            night, corpus, split, board, answered
        )
        return split, features, board, found

    corpus = ingest()
    vectors, stored = embed(corpus)
    graph_refs = graph(corpus, vectors, stored)
    split, features, board, found = compare(corpus, vectors, graph_refs)
    promoted = heavy(stages.promote)(night, corpus, split, features, board)
    predicted = heavy(stages.predict)(night, corpus, features, promoted)
    explained = heavy(stages.explain)(night, corpus, features, predicted)
    suggested = heavy(stages.suggest)(night, corpus, promoted)
    catalogued = heavy(stages.catalogue)(
        night, corpus, split, board, promoted, predicted, explained
    )
    explored = heavy(stages.eda)(night, corpus, split, graph_refs)
    reported = heavy(stages.report)(night, board, found, promoted, predicted, explored, explained)
    predicted >> suggested >> reported
    # After everything: what it drops may be in use until then.
    ended = light(stages.teardown)(night).as_teardown()
    [*graph_refs.values(), found, catalogued, explored, reported] >> ended


retrain()

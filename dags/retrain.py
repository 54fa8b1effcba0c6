"""Retrain the tagger: the nightly run.

Reads and checks the corpus, turns texts and lists into features, compares the candidates on one
frozen split, registers the best in MLflow, promotes it when it is surely better than the champion,
and writes tags for every article that has none.

**When.** Every night at 02:00 UTC (`TAGSAGE_SCHEDULE`), when the DAG `harvest` has brought
something new, or by hand: *Trigger* opens a form with the settings that are changed most often. All
other settings come from the environment (`TAGSAGE_…`; `tagsage settings` lists them). One run at a
time. A run with other *candidates* than those of the environment is a trial: it changes neither the
champion nor the leaderboard on the pages.

**The embedder.** The group `embed` has the tasks of the embedder in the environment
(`TAGSAGE_EMBEDDER`). So the form doesn't have this field. To change the embedder, set the variable
for all of Airflow.

**What it costs.** Nothing, unless the embedder is `openai`. Then each new text is paid for once, up
to `openai_max_dollars` per run. The log of `embed_texts` says beforehand what it will cost, and
afterwards what was spent. `openai_mode=batch` costs half; `await_job` then waits for the batches,
without a worker, for 50 hours at most.

**If it fails.** The last line of the failed task's log says what happened and what to do. A task is
tried three times, but only once where more tries cannot help: after a wrong setting, a refused key,
a used-up quota. Clear the task, or trigger the DAG again: it finds in the workspace what is done,
and does the rest.

**Who is notified.** The people whom `TAGSAGE_NOTIFY_ON_FAILURE` and `TAGSAGE_NOTIFY_ON_SUCCESS`
name, through any notifier of Airflow (docs/configure.md). docs/on-call.md is written for them.

**What it leaves.** In the workspace: `predictions.csv`, `changes.csv`, `suggestions.csv`,
`leaderboard.csv`, `metrics.json`, `report.html` and `quarantine/`. In the store: predicted and
suggested tags, and what [the pages](/tagsage/) show. In MLflow: a parent run with one child per
candidate, and a version of the model.
"""

from airflow.sdk import TaskGroup, dag, task

from tagsage.airflow.connections import stages_with_connections
from tagsage.airflow.dags import CORPUS, dag_arguments, timetable
from tagsage.airflow.form import RETRAIN_FORM, with_form
from tagsage.airflow.tasks import AFTER_SKIPPED, CPU, EMBED, HARVEST, LABEL, batch_sensor
from tagsage.settings import Settings

# The schedule, the embedder and the form's defaults are those of the environment at parse time.
DEFAULTS = Settings.resolve()


@dag(
    schedule=timetable(DEFAULTS.schedule, CORPUS),
    doc_md=__doc__,
    **dag_arguments(DEFAULTS, RETRAIN_FORM),
)
def retrain():
    """Run the stages in the order of `tagsage.pipeline`."""
    stages = stages_with_connections()
    run = task(with_form(stages.start))()
    with TaskGroup("ingest"):
        harvested = task(stages.harvest, **HARVEST)(run)
        # Where nothing is new, it returns nothing, and all that follows is skipped.
        corpus = task.short_circuit(stages.load_corpus, **CPU)(run)
        harvested >> corpus
    with TaskGroup("embed"):
        if DEFAULTS.embedder == "openai":
            jobs = task(stages.submit_jobs)(run, corpus)
            job = task.sensor(stages.await_job, **batch_sensor(DEFAULTS)).partial(token=run)
            ended = job.expand(job=jobs)
            vectors = task(stages.embed_texts, **EMBED, **AFTER_SKIPPED)(run, corpus)
            ended >> vectors
        else:
            vectors = task(stages.embed_texts, **CPU, **EMBED)(run, corpus)
    graph = task(stages.graph, **CPU)(run, corpus, vectors)
    with TaskGroup("compare"):
        split = task(stages.split, **CPU)(run, corpus)
        features = task(stages.fit_blocks, **CPU)(run, corpus, split, vectors, graph)
        inputs = {"token": run, "split": split, "features": features}
        fit = task(stages.fit_candidate, **CPU, **LABEL).partial(**inputs)
        fitted = fit.expand(candidate=task(stages.candidate_names)(run))
        board = task(stages.leaderboard)(run, split, fitted)
        evaluate = task(stages.evaluate_scenario, **CPU, **LABEL)
        evaluate = evaluate.partial(**inputs, corpus=corpus, board=board)
        evaluated = evaluate.expand(scenario=task(stages.scenarios)(run, board))
        found = task(stages.findings, **CPU, **AFTER_SKIPPED)(run, corpus, split, board, evaluated)
    promoted = task(stages.promote, **CPU)(run, corpus, split, features, board)
    predicted = task(stages.predict, **CPU)(run, corpus, features, promoted)
    explained = task(stages.explain, **CPU)(run, corpus, features, predicted)
    suggested = task(stages.suggest, **CPU)(run, corpus, features, predicted)
    pages = task(stages.publish, **CPU)(run, corpus, split, board, promoted, predicted, explained)
    eda = task(stages.eda, **CPU)(run, corpus, split, graph)
    report = task(stages.report, **CPU)(run, board, found, promoted, predicted, eda, explained)
    suggested >> report
    # After everything: what it removes may be in use until then.
    [graph, found, pages, eda, report] >> task(stages.teardown)(run).as_teardown()


retrain()

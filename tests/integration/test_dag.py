"""The DAG as Airflow sees it: parsed, and run by `airflow dags test`."""

from __future__ import annotations

import json
import re
import subprocess
from types import SimpleNamespace

import pytest

from tagsage import pipeline, stages
from tagsage.settings import Settings
from tests.integration.conftest import (
    BIN,
    ROOT,
    SETTINGS,
    environment,
    make_environment,
    make_variables,
    messages_in,
    notifying,
    scores_of,
)

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# The tasks of the group `embed`, by embedder.
EMBED = {
    "lsa": ["embed_texts"],
    "e5": ["embed_texts"],
    "openai": ["submit_jobs", "await_job", "embed_texts"],
    "precomputed": ["embed_texts"],
}
# What waits for a task without taking its result.
WAITS = {
    ("ingest.harvest", "ingest.load_corpus"),
    ("suggest", "report"),
    # It removes what these may use.
    *((task, "teardown") for task in ("graph", "compare.findings", "publish")),
    *((task, "teardown") for task in ("eda", "report")),
}

PARSE = """
import json, os, sys
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import XComArg
from airflow.sdk.exceptions import ParamValidationError
heavy = ("jax", "sklearn", "pandas", "mlflow", "scrapy")

def takes(dag, name, value):
    try:
        return dag.params.get_param(name).resolve(value) == value
    except ParamValidationError:
        return False

def stage_of(task):
    return task.python_callable.__name__

def inputs_of(task):
    # The stages whose results it takes.
    given = task.partial_kwargs if task.is_mapped else vars(task)
    found = list(XComArg.iter_xcom_references([given.get("op_args"), given.get("op_kwargs")]))
    if task.is_mapped:
        found += task.op_kwargs_expand_input.iter_references()
    return sorted({stage_of(operator) for operator, _ in found})

def seen(settings):
    os.environ.update(settings)
    bag = DagBag(sys.argv[1])
    assert not bag.import_errors, bag.import_errors
    for name in settings:
        del os.environ[name]
    return {
        "heavy": [name for name in heavy if name in sys.modules],
        "dags": {
            dag.dag_id: {
                "tasks": {
                    t.task_id: [t.pool, t.retries, t.execution_timeout is not None]
                    for t in dag.tasks
                },
                # In the order in which the file has them.
                "stages": [[stage_of(t), inputs_of(t)] for t in dag.tasks],
                "edges": [[t.task_id, other] for t in dag.tasks for other in t.downstream_task_ids],
                "params": sorted(dag.params),
                "promote": [
                    value
                    for value in ("better", "always", "never", True, False, "true", 1, "perhaps")
                    if "promote" in dag.params and takes(dag, "promote", value)
                ],
                "catchup": dag.catchup,
                "max_active_runs": dag.max_active_runs,
                "schedule": str(dag.schedule),
                "doc": dag.doc_md,
            }
            for dag in bag.dags.values()
        },
    }

print(json.dumps([seen(settings) for settings in json.loads(sys.argv[2])]))
"""
ENVIRONMENTS = {
    "by default": {},
    "with seeds": {"TAGSAGE_HARVEST_SEEDS": "https://medium.com/feed/tag/python"},
    "never": {"TAGSAGE_SCHEDULE": "never", "TAGSAGE_HARVEST_SCHEDULE": "never"},
    "lsa": {"TAGSAGE_EMBEDDER": "lsa"},
    "e5": {"TAGSAGE_EMBEDDER": "e5"},
    "openai": {"TAGSAGE_EMBEDDER": "openai"},
    "precomputed": {"TAGSAGE_EMBEDDER": "precomputed", "TAGSAGE_VECTORS": "vectors.csv"},
}


@pytest.fixture(scope="module")
def parsed(airflow_home):
    """Return what Airflow sees of the DAGs in each environment; it is imported once for all."""
    done = subprocess.run(
        [
            *(str(BIN / "python"), "-c", PARSE, str(ROOT / "dags")),
            json.dumps(list(ENVIRONMENTS.values())),
        ],
        env={**environment(), **make_variables(AIRFLOW_HOME=str(airflow_home))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(ENVIRONMENTS, json.loads(done.stdout.splitlines()[-1]), strict=True))


def test_dags_parse_with_their_tasks_pool_and_limits_and_without_heavy_imports(parsed):
    assert not any(seen["heavy"] for seen in parsed.values())
    dags = parsed["by default"]["dags"]
    assert set(dags) == {"harvest", "retrain"}
    seen = dags["retrain"]
    assert seen["tasks"]["compare.fit_candidate"][:2] == ["tagsage_cpu", 2]
    assert seen["tasks"]["embed.embed_texts"][0] == "tagsage_cpu"
    # What waits for a server leaves the CPU to others.
    waiting = ("ingest.harvest", "embed.embed_texts", "embed.submit_jobs", "embed.await_job")
    online = parsed["openai"]["dags"]["retrain"]
    assert {online["tasks"][task][0] for task in waiting} == {"default_pool"}
    assert {"corpus", "store", "engine", "candidates", "seed", "promote"} <= set(seen["params"])
    # The form has no field without an effect.
    assert not {"embedder", "vectors", "openai_mode"} & set(seen["params"])
    assert set(online["params"]) - set(seen["params"]) == {
        *("openai_model", "openai_dimensions", "openai_mode", "openai_max_dollars")
    }
    assert seen["promote"] == ["better", "always", "never"]
    harvest = dags["harvest"]
    assert set(harvest["tasks"]) == {"start", "harvest_seeds", "announce"}
    assert {"harvest_seeds", "harvest_consent", "harvest_contact"} <= set(harvest["params"])
    for one in (seen, harvest):
        assert (one["catchup"], one["max_active_runs"]) == (False, 1)
        assert all(timeout for _, _, timeout in one["tasks"].values())
        assert "If it fails" in one["doc"]


@pytest.mark.parametrize("embedder", EMBED)
def test_dag_has_the_tasks_of_its_embedder(parsed, embedder):
    names = [task.split(".") for task in parsed[embedder]["dags"]["retrain"]["tasks"]]
    assert [name for group, *name in names if group == "embed"] == [
        [name] for name in EMBED[embedder]
    ]


def stages_of_pipeline(monkeypatch, workspace, embedder):
    """Return the stages that the pipeline calls, each with those whose results it is given."""
    calls = []
    overrides = {"workspace": str(workspace), "embedder": embedder}
    if embedder == "precomputed":
        overrides["vectors"] = "vectors.csv"
    settings = Settings.resolve(overrides).model_dump(mode="json")
    of_lists = {"submit_jobs", "scenarios", "candidate_names"}

    def recorder(name):
        def stage(*arguments):
            calls.append([name, sorted(set(re.findall(r"<(\w+)>", repr(arguments))))])
            if name == "start":
                return {"run_id": "<start>", "settings": settings}
            return [f"<{name}>"] if name in of_lists else f"<{name}>"

        return stage

    recorders = {name: recorder(name) for name in stages.__all__}
    monkeypatch.setattr(pipeline, "stages", SimpleNamespace(**recorders))
    pipeline.run_pipeline(overrides)
    return calls


@pytest.mark.parametrize("embedder", EMBED)
def test_dag_and_pipeline_run_the_same_stages_in_the_same_order(
    parsed, monkeypatch, tmp_path, embedder
):
    dag = parsed[embedder]["dags"]["retrain"]
    assert dag["stages"] == stages_of_pipeline(monkeypatch, tmp_path, embedder)
    # Airflow runs tasks in the order of the file, or at the same time.
    tasks = list(dag["tasks"])
    assert all(tasks.index(task) < tasks.index(follows) for task, follows in dag["edges"])
    waits = {(task, follows) for task, follows in WAITS if task in tasks}
    if embedder == "openai":
        waits.add(("embed.await_job", "embed.embed_texts"))
    assert waits <= set(map(tuple, dag["edges"]))


@pytest.mark.parametrize(
    ("settings", "retrain", "harvest"),
    [
        ("by default", r"tagsage_corpus.*'0 2 \* \* \*'", "^None$"),
        (
            "with seeds",
            r"tagsage_corpus.*'0 2 \* \* \*'",
            r"^CronTriggerTimetable.*'30 \*/6 \* \* \*'",
        ),
        ("never", "^None$", "^None$"),
    ],
)
def test_dags_start_by_the_clock_and_by_what_was_harvested(parsed, settings, retrain, harvest):
    dags = parsed[settings]["dags"]
    assert re.search(retrain, dags["retrain"]["schedule"])
    assert re.search(harvest, dags["harvest"]["schedule"])


START = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.definitions.param import process_params
bag = DagBag(sys.argv[1])

def said(dag_id, conf):
    dag = bag.dags[dag_id]
    task = dag.get_task("start")
    params = process_params(dag, task, conf, suppress_exception=False)
    try:
        return task.python_callable(run_id="run", dag=dag, params=params)["run_id"]
    except SystemExit as error:
        return str(error)

print(json.dumps([said(*asked) for asked in json.loads(sys.argv[2])]))
"""


def test_only_the_forms_own_fields_are_taken_and_no_file_of_seeds(airflow_home):
    asked = {
        "retrain mlflow_tracking_uri": "mlflow_tracking_uri cannot be set from the form",
        "retrain embedder": "embedder cannot be set from the form; leave it out, or set "
        "TAGSAGE_EMBEDDER in Airflow's environment.",
        "retrain harvest_seeds": "harvest_seeds cannot be set from the form",
        "harvest harvest_folder": "harvest_folder cannot be set from the form",
        "harvest harvest_contact": "run",
        "harvest harvest_seeds": "harvest_seeds in the form takes http and https addresses",
    }
    done = subprocess.run(
        [
            *(str(BIN / "python"), "-c", START, str(ROOT / "dags")),
            json.dumps([
                (dag, {name: "/proc/self/environ"}) for dag, name in map(str.split, asked)
            ]),
        ],
        env={**environment(), **make_variables(AIRFLOW_HOME=str(airflow_home))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for sentence, expected in zip(
        json.loads(done.stdout.splitlines()[-1]), asked.values(), strict=True
    ):
        assert sentence.startswith(expected)


def test_embedder_of_make_run_becomes_the_setting():
    assert make_variables(EMBEDDER="openai")["TAGSAGE_EMBEDDER"] == "openai"
    assert "TAGSAGE_EMBEDDER" not in make_variables()


def test_what_make_starts_keeps_what_it_compiles_although_the_machine_says_not_to():
    assert "PYTHONDONTWRITEBYTECODE" not in make_environment(PYTHONDONTWRITEBYTECODE="1")


def settings_of(small_corpus, **settings):
    """Return the small settings and others as the environment, the form's defaults."""
    values = {
        **SETTINGS,
        "articles": str(small_corpus.articles),
        "lists": str(small_corpus.lists),
        # A first start shortly after the hour of the schedule would begin a run of its own.
        "schedule": "never",
        **settings,
    }
    return {f"TAGSAGE_{name.upper()}": value for name, value in values.items()}


def test_dags_test_gives_the_leaderboard_of_the_command_line(
    small_corpus, finished_run, airflow_home, tmp_path
):
    messages, workspace = tmp_path / "messages", tmp_path / "workspace"
    done = subprocess.run(
        [str(BIN / "airflow"), "dags", "test", "retrain"],
        env={
            **environment(),
            **make_variables(AIRFLOW_HOME=str(airflow_home), TAGSAGE_WORKSPACE=str(workspace)),
            **settings_of(small_corpus),
            **notifying(messages, success="told", failure="failed"),
            "TAGSAGE_MLFLOW_URL": "http://mlflow.example:5000",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for noise in ("XCom not found", "graphviz"):
        assert noise not in done.stdout + done.stderr
    assert scores_of(workspace / "leaderboard.csv") == scores_of(finished_run / "leaderboard.csv")
    predictions = (workspace / "predictions.csv").read_bytes()
    assert predictions == (finished_run / "predictions.csv").read_bytes()
    # The message of the run, although the notifier before it breaks.
    (told,) = messages_in(messages / "told")
    best = scores_of(workspace / "leaderboard.csv")[0]["candidate"]
    assert told["text"].startswith(f"{best}, the best of 4 candidates, reaches micro-F1 ")
    assert f"Report: {workspace / 'report.html'}" in told["text"]
    assert re.search(
        r"^Report on the pages: http://\S+/tagsage/report$", told["text"], re.MULTILINE
    )
    assert re.search(r"^Airflow: http://\S+/dags/retrain/runs/manual__", told["text"], re.MULTILINE)
    assert re.search(
        r"^MLflow: http://mlflow\.example:5000/#/experiments/\d+/runs/[0-9a-f]{32}$",
        told["text"],
        re.MULTILINE,
    )
    assert messages_in(messages / "failed") == []
    broken = "The notifier FileNotifier did not send: RuntimeError: the chat is away, password=***"
    assert broken in done.stdout + done.stderr

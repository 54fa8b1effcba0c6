"""The runs in MLflow: found again, continued, nothing logged twice."""

import math
from pathlib import Path

import pandas as pd

from tagsage.registry.runs import (
    DataSet,
    candidate_run,
    finish,
    log_candidate,
    log_datasets,
    log_results,
    log_run,
    parent_run,
)

PER_TAG = pd.DataFrame({"tag": ["a", "b"], "f1": [0.5, 0.25]})


def runs_of(tracking, run_id):
    return tracking.client.search_runs(
        [tracking.experiment_id], f"tags.`tagsage.run_id` = '{run_id}'"
    )


def test_run_has_a_parent_and_a_child_for_every_candidate(tracking, run_id, tmp_path):
    children = [
        log_candidate(tracking, run_id, name, params={"threshold": 0.3}, scores={}, per_tag=PER_TAG)
        for name in ("text:mlp", "lists:mlp")
    ]
    parent = log_run(tracking, run_id, params={"seed": 42})
    found = {run.info.run_id: run for run in runs_of(tracking, run_id)}
    assert set(found) == {parent, *children}
    for child in children:
        assert found[child].data.tags["mlflow.parentRunId"] == parent
        assert found[child].info.status == "FINISHED"
    assert found[parent].info.status == "RUNNING"
    assert found[parent].info.run_name == run_id
    assert found[children[0]].info.run_name == "text:mlp"
    assert found[children[0]].data.params == {
        "feature_set": "text",
        "classifier": "mlp",
        "threshold": "0.3",
    }
    file = tracking.client.download_artifacts(children[0], "per_tag.csv", str(tmp_path))
    assert Path(file).read_text() == "tag,f1\na,0.5\nb,0.25\n"


def test_run_logged_again_after_a_kill_doubles_nothing(tracking, run_id, picture):
    item = DataSet("lists.csv", "sha256:" + "0f" * 32, "https://a:b@host/lists.csv", {"rows": 12})
    for _ in range(2):
        parent = log_run(tracking, run_id, params={"seed": 42, "candidates": "text:mlp"})
        log_datasets(tracking, run_id, [item])
        child = log_candidate(
            tracking,
            run_id,
            "text:mlp",
            params={"threshold": 0.3},
            scores={"micro_f1": 0.5, "P@5": 0.2, "lrap": math.nan, "x": math.inf},
            per_tag=PER_TAG,
            figures={"loss": picture},
        )
        log_results(
            tracking,
            run_id,
            series={"loss": [3.0, 2.0]},
            metrics={"tags": 7},
            tags={"tagsage.winner": "text:mlp"},
            tables={"leaderboard.csv": PER_TAG},
            figures={"loss": picture},
            files={"copy": picture},
        )
        finish(tracking, run_id, "FINISHED")
    client = tracking.client
    assert len(runs_of(tracking, run_id)) == 2
    assert client.get_run(child).data.metrics == {"micro_f1": 0.5, "p_at_5": 0.2}
    assert len(client.get_metric_history(child, "micro_f1")) == 1
    history = client.get_metric_history(parent, "loss")
    assert [(point.step, point.value) for point in history] == [(1, 3.0), (2, 2.0)]
    assert len(client.get_metric_history(parent, "tags")) == 1
    assert client.get_run(parent).data.tags["tagsage.winner"] == "text:mlp"
    assert [file.path for file in client.list_artifacts(child)] == ["figures", "per_tag.csv"]
    paths = [file.path for file in client.list_artifacts(parent)]
    assert paths == ["figures", "leaderboard.csv", "loss.png"]
    (logged,) = client.get_run(parent).inputs.dataset_inputs
    assert (logged.dataset.name, logged.dataset.digest) == ("lists.csv", "0f" * 18)
    assert logged.dataset.source == '{"uri": "https://***@host/lists.csv"}'
    assert logged.dataset.profile == '{"rows": 12}'


def test_killed_run_is_continued_and_its_end_closes_what_was_left_open(tracking, run_id):
    parent = log_run(tracking, run_id, params={})
    finish(tracking, run_id, "FAILED")
    assert tracking.client.get_run(parent).info.status == "FAILED"
    assert log_run(tracking, run_id, params={}) == parent
    assert tracking.client.get_run(parent).info.status == "RUNNING"
    left_open = candidate_run(tracking, run_id, "text:mlp")
    done = log_candidate(tracking, run_id, "lists:mlp", params={}, scores={})
    finish(tracking, run_id, "FINISHED")
    statuses = [tracking.client.get_run(one).info.status for one in (parent, left_open, done)]
    assert statuses == ["FINISHED", "FAILED", "FINISHED"]


def test_corrected_score_replaces_the_one_before(tracking, run_id):
    log_candidate(tracking, run_id, "text:mlp", params={}, scores={"micro_f1": 0.6})
    child = log_candidate(tracking, run_id, "text:mlp", params={}, scores={"micro_f1": 0.25})
    assert tracking.client.get_run(child).data.metrics == {"micro_f1": 0.25}


def test_settings_are_logged_without_passwords_however_many_they_are(tracking, run_id):
    params = {"uri": "http://ann:hush@host", "long": "x" * 7000, "none": None}
    parent = log_run(tracking, run_id, params={**params, **{f"p{n}": n for n in range(250)}})
    logged = tracking.client.get_run(parent).data.params
    assert len(logged) == 253
    assert logged["uri"] == "http://***@host"
    assert logged["long"] == "x" * 6000
    assert logged["none"] == "None"


def test_parameter_keeps_its_first_value_and_a_change_is_logged(tracking, run_id):
    parent = log_run(tracking, run_id, params={"embedder": "openai"})
    for model in ("text-embedding-ada-002", "text-embedding-ada-002", "text-embedding-3-small"):
        log_results(tracking, run_id, params={"vectors_model": model})
    run = tracking.client.get_run(parent)
    assert run.data.params == {"embedder": "openai", "vectors_model": "text-embedding-ada-002"}
    assert run.data.tags["tagsage.changed_params"] == '{"vectors_model": "text-embedding-3-small"}'


def test_run_id_may_hold_what_airflow_puts_in_it(tracking):
    for run_id in ("manual__2026-11-22T02:00:00+00:00_a'b", 'scheduled "x"'):
        assert log_run(tracking, run_id, params={}) == parent_run(tracking, run_id)

"""What all commands share: where a setting comes from."""

from __future__ import annotations

import pytest

from tagsage.cli.command import overrides_of
from tagsage.settings import Settings
from tagsage.stages import tracking_of


@pytest.mark.parametrize(
    ("options", "pairs", "variables", "expected"),
    [
        ({"workspace": "w"}, [], {}, "w/mlflow.db"),
        ({}, ["workspace=w"], {}, "w/mlflow.db"),
        ({}, [], {"TAGSAGE_WORKSPACE": "w"}, "exported.db"),
        ({"workspace": "w"}, ["mlflow_tracking_uri=sqlite:///said.db"], {}, "said.db"),
        (
            *({"workspace": "w"}, []),
            *({"TAGSAGE_MLFLOW_TRACKING_URI": "sqlite:///said.db"}, "said.db"),
        ),
    ],
)
def test_a_workspace_on_the_command_line_brings_its_mlflow(
    tmp_path, monkeypatch, options, pairs, variables, expected
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///exported.db")
    monkeypatch.delenv("TAGSAGE_MLFLOW_TRACKING_URI", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    tracking_of(Settings.resolve(overrides_of(pairs, **options)))
    assert [str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.db")] == [expected]

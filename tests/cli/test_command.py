"""What all commands share: where a setting comes from."""

from __future__ import annotations

import pytest

from tagsage.cli.command import overrides_of
from tagsage.settings import Settings
from tagsage.stages import tracking_of


@pytest.mark.parametrize(
    ("options", "pairs", "variables", "uri"),
    [
        ({"workspace": "w"}, [], {}, ""),
        ({}, ["workspace=w"], {}, ""),
        ({}, [], {"TAGSAGE_WORKSPACE": "w"}, "exported"),
        ({"workspace": "w"}, ["mlflow_tracking_uri=said"], {}, "said"),
        ({"workspace": "w"}, [], {"TAGSAGE_MLFLOW_TRACKING_URI": "said"}, "said"),
    ],
)
def test_a_workspace_on_the_command_line_brings_its_mlflow(
    tmp_path, monkeypatch, options, pairs, variables, uri
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "tagsage.registry.tracking.open_tracking", lambda uri, *, experiment, folder: (uri, folder)
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "exported")
    monkeypatch.delenv("TAGSAGE_MLFLOW_TRACKING_URI", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = tracking_of(Settings.resolve(overrides_of(pairs, **options)))
    # Without an address it is the workspace's own.
    assert found == (uri, tmp_path / "w")

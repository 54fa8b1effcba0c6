"""A harvest for tests to fill."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tagsage.harvest.database import HarvestDatabase
from tests.harvest.harvest_world import World


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    """Return an empty harvest."""
    with HarvestDatabase(tmp_path / "harvest") as db:
        db.execute("PRAGMA synchronous = OFF")  # nobody pulls the plug here
        yield World(db)

"""Harvests of a small local Medium."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tagsage.harvest.collection import Collection
from tagsage.harvest.process import harvest
from tagsage.settings import Settings


@dataclass
class Harvester:
    """Harvests into a folder, without delays unless a setting says otherwise."""

    folder: Path
    settings: dict = field(default_factory=dict)

    def run(self, seeds, *, replay=False, overrides=None, **settings):
        values = {
            "harvest_contact": "owner@example.org",
            "harvest_consent": True,
            "harvest_delay_s": 0.0,
            **self.settings,
            **settings,
        }
        return harvest(
            self.folder, seeds, Settings.resolve(values), replay=replay, overrides=overrides
        )

    def read(self, name, *values):
        """Return the rows of a table, of its view, or of a query."""
        query = name if " " in name else f"SELECT * FROM {name}"
        with Collection(self.folder) as collection:
            return collection.query(query, *values)

    def content(self):
        """Return all that an export would hold."""
        with Collection(self.folder) as collection:
            return list(collection.articles()), list(collection.memberships())

    def problems(self):
        """Return kind and reason of the problems, by address."""
        rows = self.read("SELECT url, kind, reason FROM problems")
        return {url: (kind, reason) for url, kind, reason in rows}


@pytest.fixture
def harvester(tmp_path):
    return Harvester(tmp_path / "harvest")

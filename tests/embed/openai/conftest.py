"""Settings that lead to a server, and a cache in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.openai_server import OpenAiServer
from tagsage.embed.cache import VectorCache, cache_file
from tagsage.settings import Settings

KEY = "sk-proj-Xq7hK3bRu8sZ9dQpW2mVn4"
MODEL, DIMENSIONS = "text-embedding-3-small", 8
TEXTS = [f"title {number} about graphs" for number in range(150)]


@pytest.fixture
def server(monkeypatch):
    with OpenAiServer(api_key=KEY) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        yield running


@pytest.fixture
def settings_of(tmp_path: Path) -> Callable[..., Settings]:
    """Return the function that makes settings; a token costs a dollar per million."""

    def make(**changes: object) -> Settings:
        given = {
            "workspace": str(tmp_path),
            "embedder": "openai",
            "openai_model": MODEL,
            "openai_dimensions": DIMENSIONS,
            "openai_prices": f"{MODEL}=1",
            "openai_timeout_s": 5,
        }
        return Settings(**{**given, **changes})

    return make


@pytest.fixture
def cache(settings_of):
    with VectorCache(cache_file(settings_of())) as opened:
        yield opened

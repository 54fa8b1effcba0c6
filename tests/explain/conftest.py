"""The corpus that tests explain; tests only read it."""

import pytest

from tests.explain.explained_world import snapshot


@pytest.fixture(scope="session")
def corpus():
    return snapshot()

"""Where connections come from before the environment: Airflow, where there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class ConnectionSources(Generic[T]):
    """Functions that may return a connection; the latest added is called first."""

    def __init__(self) -> None:
        self._known: list[Callable[[], T | None]] = []

    def add(self, provider: Callable[[], T | None]) -> None:
        """Call `provider` before those added earlier; added twice, it keeps its place."""
        if provider not in self._known:
            self._known.insert(0, provider)

    def find(self) -> T | None:
        """Return the first connection that a provider knows; None when none does."""
        for provider in self._known:
            if (connection := provider()) is not None:
                return connection
        return None

"""Who is asked for a connection before the environment: Airflow, where there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Providers(Generic[T]):
    """Callables that may know a connection; the latest given is asked first."""

    def __init__(self) -> None:
        self._known: list[Callable[[], T | None]] = []

    def add(self, provider: Callable[[], T | None]) -> None:
        """Ask `provider` before those given earlier; given twice, it keeps its place.

        Parameters
        ----------
        provider : callable
            Returns the connection, or None when it knows none.
        """
        if provider not in self._known:
            self._known.insert(0, provider)

    def find(self) -> T | None:
        """Return what the first provider that knows a connection says; None when none does."""
        for provider in self._known:
            if (connection := provider()) is not None:
                return connection
        return None

"""Where Spark is: named by the environment, or in Airflow by a connection."""

from __future__ import annotations

import os
from collections.abc import Callable

Provider = Callable[[], "str | None"]
# What is asked before the environment: in Airflow, its connections.
_provider: Provider | None = None


def provide_spark_address(provider: Provider) -> None:
    """Use the address that `provider` returns, if any, rather than the environment's."""
    global _provider
    _provider = provider


def resolve_spark_address() -> str:
    """Return the address of a Spark Connect server (``sc://…``) or of a master.

    It is never shown: a token may be part of it. Without one, Spark works in threads of this
    machine.
    """
    if _provider and (address := _provider()):
        return address
    return os.environ.get("SPARK_REMOTE") or os.environ.get("SPARK_MASTER") or "local[*]"

"""The arguments that several tasks share."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from tagsage.airflow.connections import TaskFailedForGood

if TYPE_CHECKING:
    from tagsage.settings import Settings

# Every task.
DEFAULT_ARGS: dict[str, Any] = {
    "retries": 2,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=10),
    "retry_policy": ExceptionRetryPolicy([RetryRule(TaskFailedForGood, action=RetryAction.FAIL)]),
    "execution_timeout": timedelta(hours=2),
}
# Tasks that keep a core busy: the pool has as many slots as the machine has cores.
CPU = {"pool": "tagsage_cpu"}
# Tasks that harvest: `harvest_max_minutes` is at most 720, and then the harvest still has to end.
HARVEST = {"execution_timeout": timedelta(hours=13)}
# The task that embeds texts: an encoder on this machine, or a slow server of one's own, takes hours
# for many new texts.
EMBED = {"execution_timeout": timedelta(hours=12)}
# Mapped tasks that Airflow's pages show by the name of their candidate or scenario.
LABEL = {
    "map_index_template": "{{ task.op_kwargs.get('candidate') or task.op_kwargs['scenario'] }}"
}
# Tasks after mapped tasks that may all be skipped: no new texts, no candidates of one kind.
AFTER_SKIPPED = {"trigger_rule": "none_failed"}


def batch_sensor(defaults: Settings) -> dict[str, Any]:
    """Return the arguments of the sensor that awaits a batch of OpenAI's.

    It holds no worker between two polls. A batch takes up to 24 hours, and may wait as long before
    it starts.
    """
    return {
        "mode": "reschedule",
        "poke_interval": defaults.openai_poll_s,
        "timeout": timedelta(hours=50).total_seconds(),
    }

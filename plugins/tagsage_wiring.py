"""What the DAGs have in common: the asset, forms made from the settings, stages as tasks."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import (
    Asset,
    ExceptionRetryPolicy,
    Param,
    RetryAction,
    RetryRule,
    get_current_context,
    task,
)

from tagsage_connections import FailedForGood, with_connections

# What was harvested, in a state that the nightly run has not seen yet.
CORPUS = Asset("tagsage_corpus")

CPU_POOL = "tagsage_cpu"
DEFAULT_ARGS = {
    "retries": 2,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=10),
    "retry_policy": ExceptionRetryPolicy([RetryRule(FailedForGood, action=RetryAction.FAIL)]),
    "execution_timeout": timedelta(hours=2),
}
# Minutes that a harvest may take are a setting, 720 at most; then it still has to end.
HARVEST_TIMEOUT = timedelta(hours=13)


def trigger_form(defaults, sections):
    """Make a form's fields from the settings: type, choices, limits and help come from there."""
    return {
        name: Param(getattr(defaults, name), section=section, **defaults.form_field(name))
        for section, names in sections.items()
        for name in names
    }


def light(function, **options):
    """Make a stage a task that finds Airflow's connections, and fails at once where it must."""
    return task(with_connections(function), **options)


def heavy(function, **options):
    """Make a stage a task that takes a slot of the CPU pool."""
    return light(function, pool=CPU_POOL, **options)


def first(function):
    """Make a stage that takes a run's id and its form the run's first task.

    Airflow takes any name from whoever triggers a run; only those of the form are taken here.
    """

    def begin():
        from tagsage.errors import FinalError

        context = get_current_context()
        given = dict(context["params"])
        if others := sorted(given.keys() - context["dag"].params.keys()):
            msg = (
                f"{', '.join(others)} cannot be set from the form; leave it out, it comes from the "
                "environment."
            )
            raise FinalError(msg)
        return function(context["run_id"], given)

    return light(begin, task_id="start", multiple_outputs=False)

"""The trigger forms: their fields, made from the settings, and the check of what was filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import Param

from tagsage.airflow.connections import with_connections
from tagsage.errors import NonRetryableError

if TYPE_CHECKING:
    from tagsage.settings import Settings

T = TypeVar("T")

# The settings in the form of each DAG, by the form's section. Paths, addresses and what names a
# server come from the environment or from Airflow's connections.
RETRAIN_FORM = {
    "What to read": ("corpus", "checks"),
    "How": ("store", "engine", "seed"),
    "OpenAI": ("openai_model", "openai_dimensions", "openai_mode", "openai_max_dollars"),
    "What to compare": ("candidates", "compare", "min_tag_articles", "test_share"),
    "GraphSAGE": (
        "sample_ratio",
        "graphsage_dimensions",
        "graphsage_sample_sizes",
        "graphsage_search_depth",
        "graphsage_epochs",
        "graphsage_learning_rate",
        "graphsage_activation",
        "graphsage_aggregator",
        "graphsage_batch_size",
    ),
    "What follows": ("promote", "promote_margin"),
}
HARVEST_FORM = {
    "What to harvest": ("harvest_seeds", "harvest_contact", "harvest_consent"),
    "How gently": ("harvest_delay_s", "harvest_articles"),
    "How much": ("harvest_max_requests", "harvest_max_minutes"),
    "What follows": ("corpus",),
}


def trigger_form(defaults: Settings, sections: Mapping[str, tuple[str, ...]]) -> dict[str, Param]:
    """Return a DAG's ``params`` from the settings; ``OpenAI`` is left out for other embedders."""
    return {
        name: Param(getattr(defaults, name), section=section, **defaults.form_field(name))
        for section, names in sections.items()
        if section != "OpenAI" or defaults.embedder == "openai"
        for name in names
    }


def with_form(stage: Callable[[str, dict[str, Any]], T]) -> Callable[..., T]:
    """Make a run's first stage a function of run id and form; unknown fields end the run."""

    @with_connections
    def start(**context: Any) -> T:
        values = dict(context["params"])
        if unknown := sorted(values.keys() - context["dag"].params.keys()):
            variables = ", ".join(f"TAGSAGE_{name.upper()}" for name in unknown)
            msg = (
                f"{', '.join(unknown)} cannot be set from the form; leave it out, or set "
                f"{variables} in Airflow's environment."
            )
            raise NonRetryableError(msg)
        return stage(context["run_id"], values)

    return start

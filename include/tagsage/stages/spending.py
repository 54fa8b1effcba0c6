"""What a run has spent on vectors, for its log, MLflow and the report."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from tagsage.night import Night
from tagsage.stages.common import openai_folder, tracking_of

logger = logging.getLogger(__name__)


def log_spending(night: Night) -> None:
    """Log what the run has spent so far, killed attempts included, to its run in MLflow.

    Nothing is logged for other embedders.
    """
    from tagsage.tracking.runs import log_results

    if night.settings.embedder != "openai":
        return
    spent = _spent(night)
    logger.info(
        "openai: this run has sent %s texts in %s requests, %s tokens, $%.4f%s",
        f"{spent['texts']:,}",
        f"{spent['requests']:,}",
        f"{spent['tokens']:,}",
        spent["dollars"],
        f"; {spent['lost_requests']:,} answers were lost" if spent["lost_requests"] else "",
    )
    log_results(
        tracking_of(night.settings),
        night.run_id,
        metrics={f"openai_{name}": value for name, value in spent.items()},
    )


def _spent(night: Night) -> dict[str, float]:
    from tagsage.vectors.openai.ledger import Ledger

    with Ledger(openai_folder(night.settings)) as ledger:
        return asdict(ledger.spent(night.run_id))


def cost_of(night: Night) -> dict[str, Any]:
    """Return what the run spent, in words for the report; empty for other embedders."""
    settings = night.settings
    if settings.embedder != "openai":
        return {}
    spent = _spent(night)
    facts: dict[str, Any] = {
        "Model": settings.openai_model,
        "Mode": {"online": "on line", "batch": "Batch API"}[settings.openai_mode],
        "Texts sent": spent["texts"],
        "Requests": spent["requests"],
        "Tokens": spent["tokens"],
        "Dollars": f"${spent['dollars']:.4f}",
        "Ceiling": f"${settings.openai_max_dollars:,.2f}, {settings.openai_max_tokens:,} tokens",
    }
    if spent["lost_requests"]:
        facts["Requests without an answer"] = spent["lost_requests"]
        facts["Tokens of these, estimated"] = spent["lost_tokens"]
    return facts

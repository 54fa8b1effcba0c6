"""What a run has spent on vectors, for its log, MLflow and the report."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tagsage.run_context import RunContext
from tagsage.stages.common import openai_folder, tracking_of

if TYPE_CHECKING:
    from tagsage.embed.openai.ledger import Spending

logger = logging.getLogger(__name__)


def log_spending(run: RunContext) -> None:
    """Log what the run has spent so far, killed attempts included, to its run in MLflow.

    Nothing is logged when nothing could be spent: another embedder made the vectors, and no
    champion of an earlier run has asked a server for its own.
    """
    from tagsage.registry.runs import log_results

    spent = _spent(run)
    if spent is None:
        return
    logger.info(
        "openai: this run has sent %s texts in %s requests, %s tokens, $%.4f%s",
        f"{spent.texts:,}",
        f"{spent.requests:,}",
        f"{spent.tokens:,}",
        spent.dollars,
        f"; {spent.lost_requests:,} answers were lost" if spent.lost_requests else "",
    )
    log_results(
        tracking_of(run.settings),
        run.run_id,
        metrics={f"openai_{name}": value for name, value in asdict(spent).items()},
    )


def cost_of(run: RunContext) -> dict[str, Any]:
    """Return what the run spent, in words for the report; empty when nothing could be spent."""
    settings = run.settings
    spent = _spent(run)
    if spent is None:
        return {}
    facts: dict[str, Any] = {
        "Texts sent": spent.texts,
        "Requests": spent.requests,
        "Tokens": spent.tokens,
        "Dollars": f"${spent.dollars:.4f}",
        "Ceiling": f"${settings.openai_max_dollars:,.2f}, {settings.openai_max_tokens:,} tokens",
    }
    if settings.embedder == "openai":
        mode = {"online": "on line", "batch": "Batch API"}[settings.openai_mode]
        facts = {"Model": settings.openai_model, "Mode": mode, **facts}
    if spent.lost_requests:
        facts["Requests without an answer"] = spent.lost_requests
        facts["Tokens of these, estimated"] = spent.lost_tokens
    return facts


def _spent(run: RunContext) -> Spending | None:
    from tagsage.embed.openai.ledger import Ledger
    from tagsage.embed.openai.ledger_file import FILE

    folder = openai_folder(run.settings)
    asks_server = run.settings.embedder == "openai"
    if not asks_server and not (folder / FILE).exists():
        return None
    with Ledger(folder) as ledger:
        spent = ledger.spent(run.run_id)
    return spent if asks_server or spent.tokens else None

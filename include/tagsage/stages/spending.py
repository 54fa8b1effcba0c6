"""What a run has spent on vectors, for its log, MLflow and the report."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from tagsage.run_context import RunContext
from tagsage.stages.backends import log_results

if TYPE_CHECKING:
    from tagsage.embed.cache import Usage

logger = logging.getLogger(__name__)


def log_spending(run: RunContext) -> None:
    """Log what the run has spent so far, killed attempts included, if it could spend anything."""
    spent = _spent(run)
    if spent is None:
        return
    logger.info(
        "openai: this run has sent %s texts, %s tokens, $%.4f",
        f"{spent.texts:,}",
        f"{spent.tokens:,}",
        spent.dollars,
    )
    metrics = {
        "openai_texts": spent.texts,
        "openai_tokens": spent.tokens,
        "openai_dollars": spent.dollars,
    }
    log_results(run, metrics=metrics)


def cost_of(run: RunContext) -> dict[str, Any]:
    """Return what the run spent, in words for the report; empty when nothing could be spent."""
    settings = run.settings
    spent = _spent(run)
    if spent is None:
        return {}
    facts: dict[str, Any] = {
        "Texts sent": spent.texts,
        "Tokens": spent.tokens,
        "Dollars": f"${spent.dollars:.4f}",
        "Ceiling": f"${settings.openai_max_dollars:,.2f}",
    }
    if settings.embedder == "openai":
        mode = {"online": "online", "batch": "Batch API"}[settings.openai_mode]
        facts = {"Model": settings.openai_model, "Mode": mode, **facts}
    return facts


def _spent(run: RunContext) -> Usage | None:
    from tagsage.embed.cache import VectorCache, cache_file

    file = cache_file(run.settings)
    uses_server = run.settings.embedder == "openai"
    if not uses_server and not file.exists():
        return None
    with VectorCache(file) as cache:
        spent = cache.spent(run.run_id)
    return spent if uses_server or spent.tokens else None

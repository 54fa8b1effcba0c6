"""Explore the corpus: what it holds, in numbers and in the study's figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tagsage.run_context import RunContext, Token
from tagsage.stages.common import GRAPH_CODE, Ref, load_labels, load_snapshot, tracking_of


def eda(
    token: Token,
    corpus: Ref,
    split: Ref,
    similarity: Ref,
    components: Ref,
    sample: Ref,
    graphsage: Ref,
) -> Ref:
    """Count what there is in the corpus and in the projection; draw the study's figures."""
    import numpy as np

    from tagsage.graph.base import DEGREES_FILE
    from tagsage.registry.runs import log_results
    from tagsage.report.corpus_profile import profile_corpus
    from tagsage.report.figures import corpus_figures
    from tagsage.report.picture import save_pictures

    run = RunContext.of(token)
    graph = {
        "similarity": similarity,
        "components": components,
        "sample": sample,
        "graphsage": graphsage,
    }

    def build(folder: Path) -> dict[str, Any]:
        snapshot = load_snapshot(run, corpus)
        neighbours = None
        if similarity:
            neighbours = np.load(run.workspace.open(similarity).path / DEGREES_FILE)
        profile = profile_corpus(
            snapshot.articles,
            snapshot.article_index,
            snapshot.list_index,
            n_lists=len(snapshot.lists),
            target_tags=load_labels(run, split).tags,
            neighbours=neighbours,
        )
        save_pictures(corpus_figures(profile, seed=run.settings.seed), folder)
        return {"profile": profile.to_json(), "graph": _graph_facts(run, graph)}

    inputs = {"corpus": corpus, "split": split, "graph": dict(graph)}
    artifact = run.artifact("eda", inputs, build, code=(*GRAPH_CODE, "report"))
    log_results(
        tracking_of(run.settings),
        run.run_id,
        metrics={f"corpus_{name}": n for name, n in artifact.summary["profile"]["counts"].items()},
        series={"graphsage_loss": artifact.summary["graph"]["losses"]},
        figures={file.name: file for file in sorted(artifact.path.glob("*.png"))},
    )
    return artifact.ref


def _graph_facts(run: RunContext, graph: Mapping[str, Ref]) -> dict[str, Any]:
    """Return what the report shows of the graph: facts by label, and GraphSAGE's losses."""
    found = {stage: run.workspace.open(ref).summary if ref else {} for stage, ref in graph.items()}
    facts = {
        "Articles joined": found["similarity"].get("articles_joined"),
        "Relationships (SIMILAR)": found["similarity"].get("relationships"),
        "Components": found["components"].get("components"),
        "Articles in the largest component": found["components"].get("largest_component"),
        "Articles in the training sample": found["sample"].get("articles"),
        "Relationships in the sample": found["sample"].get("relationships"),
    }
    return {
        "facts": {name: value for name, value in facts.items() if value is not None},
        "losses": found["graphsage"].get("epoch_losses", []),
    }

"""Explore the corpus: what it holds, in numbers and in the study's figures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tagsage.run_context import RunContext, Token
from tagsage.stages.artifacts import GRAPH_CODE, Ref, load_labels, load_snapshot
from tagsage.stages.backends import log_results


def eda(token: Token, corpus: Ref, split: Ref, graph: Ref) -> Ref:
    """Count what there is in the corpus and in the projection; draw the study's figures."""
    import numpy as np

    from tagsage.graph.compute import DEGREES_FILE
    from tagsage.report.corpus_profile import profile_corpus
    from tagsage.report.figures import corpus_figures
    from tagsage.report.picture import save_pictures

    run = RunContext.of(token)

    def build(folder: Path) -> dict[str, Any]:
        snapshot = load_snapshot(run, corpus)
        neighbours = np.load(run.workspace.open(graph).path / DEGREES_FILE) if graph else None
        profile = profile_corpus(
            snapshot.articles,
            snapshot.article_index,
            snapshot.list_index,
            n_lists=len(snapshot.lists),
            target_tags=load_labels(run, split).tags,
            neighbours=neighbours,
        )
        save_pictures(corpus_figures(profile, seed=run.settings.seed), folder)
        return {"profile": asdict(profile), "graph": _graph_facts(run, graph, profile.counts)}

    inputs = {"corpus": corpus, "split": split, "graph": graph}
    artifact = run.artifact("eda", inputs, build, code=(*GRAPH_CODE, "report"))
    counts = artifact.summary["profile"]["counts"]
    log_results(
        run,
        metrics={f"corpus_{name}": count for name, count in counts.items()},
        series={"graphsage_loss": artifact.summary["graph"]["losses"]},
        figures={file.name: file for file in sorted(artifact.path.glob("*.png"))},
    )
    return artifact.ref


def _graph_facts(run: RunContext, graph: Ref, counts: dict[str, int]) -> dict[str, Any]:
    """Return what the report shows of the graph: facts by label, and GraphSAGE's losses."""
    if not graph:
        return {"facts": {}, "losses": []}
    found = run.workspace.open(graph).summary
    facts = {
        "Articles joined": found["articles_joined"],
        "Relationships (SIMILAR)": found["relationships"],
        "Components": found["components"],
        "Articles in the largest component": found["largest_component"],
        "Components of articles and lists, as in the study": counts["components"],
        "Articles in the training sample": found["sampled"],
        "Relationships in the sample": found["sampled_relationships"],
    }
    return {"facts": facts, "losses": found["epoch_losses"]}

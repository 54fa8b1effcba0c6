"""Explain the predictions of a run: ``explanations.parquet``."""

from __future__ import annotations

import logging
from itertools import islice
from pathlib import Path
from typing import Any

from tagsage.files import read_json
from tagsage.run_context import RunContext, Token
from tagsage.stages.artifacts import MODEL_CODE, VECTORS, Blocks, Ref, load_snapshot, load_vectors
from tagsage.stages.predict import UNUSABLE
from tagsage.stages.tag_tables import EXAMPLES_FILE, PREDICTIONS
from tagsage.stages.tagger import load_tagger

logger = logging.getLogger(__name__)

EXPLANATIONS_FILE = "explanations.parquet"
ROWS_PER_WRITE = 4096


def explain(token: Token, corpus: Ref, features: Blocks, predicted: Ref) -> Ref:
    """Explain the tags that were assigned in this run, by the model that assigned them.

    The artifact has a file ``explanations.parquet`` with one row per article and assigned tag, see
    :meth:`tagsage.explain.explanation.Explanation.record`. When the champion cannot be used, the
    ref is empty.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tagsage.explain.explain import choose_explained
    from tagsage.explain.explain import explain as explain_tags
    from tagsage.explain.labelled_corpus import LabelledCorpus

    run = RunContext.of(token)
    if run.recorded(UNUSABLE):
        return ""
    settings = run.settings
    predictions = run.workspace.open(predicted)
    inputs = {
        "corpus": corpus,
        "features": features,
        "predictions": predicted,
        "articles": settings.explain_articles,
        "seed": settings.seed,
    }
    kinds = {name: pa.string() for name in ("story", "tag")}
    kinds |= {name: pa.float64() for name in ("score", "threshold", "score_without_graph")}
    kinds |= {name: pa.string() for name in ("lists", "articles", "texts", "words", "terms")}
    schema = pa.schema(kinds)

    def build(folder: Path) -> dict[str, Any]:
        snapshot = load_snapshot(run, corpus)
        articles = snapshot.articles
        examples = read_json(predictions.path / EXAMPLES_FILE) or []
        chosen = choose_explained(
            pd.read_parquet(
                predictions.path / f"{PREDICTIONS}.parquet",
                columns=["story", "tag", "score"],
                filters=[("assigned", "==", 1)],
            ),
            shown=[example["url"] for example in examples],
            untagged=articles["url"][articles["tags"].map(len) == 0],
            articles=settings.explain_articles,
            seed=settings.seed,
        )
        with pq.ParquetWriter(folder / EXPLANATIONS_FILE, schema) as writer:
            if len(chosen):
                model = load_tagger(run, str(predictions.summary["version"]), snapshot, features)
                tags = model.tagger.candidate.tags
                vectors = load_vectors(run, features[VECTORS])
                explanations = explain_tags(
                    model.tagger,
                    LabelledCorpus.of(snapshot, tags, vectors),
                    pd.Index(articles["url"]).get_indexer(pd.Index(chosen["story"])),
                    pd.Index(tags).get_indexer(pd.Index(chosen["tag"])),
                    vectors=model.vectors,
                )
                while rows := [one.record() for one in islice(explanations, ROWS_PER_WRITE)]:
                    writer.write_table(pa.Table.from_pylist(rows, schema=schema))
        return {"articles": int(chosen["story"].nunique()), "tags": len(chosen)}

    artifact = run.artifact("explain", inputs, build, code=(*MODEL_CODE, "explain"))
    logger.info("explanations: %s", artifact.summary)
    return artifact.ref

"""Tags too rare to be learned: scored by lists and by frequent tags, with their own report."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.night import Night, Token
from tagsage.stages.common import (
    LEARN_CODE,
    MODEL_FOLDER,
    Blocks,
    Ref,
    feature_matrix,
    load_labels,
    load_snapshot,
    tracking_of,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from tagsage.graph.csr import Csr
    from tagsage.learn.candidate import FittedCandidate
    from tagsage.learn.features import FeatureMatrix
    from tagsage.learn.labels import Labels
    from tagsage.store.snapshot import Snapshot

logger = logging.getLogger(__name__)

REPORT_FILE, PREDICTIONS_FILE = "rare_tags.csv", "rare_predictions.csv"
# A tag on a single article cannot be told from a slip of the pen, nor be both learned and tested.
MIN_ARTICLES = 2
KEPT_TAGS = 50
PREDICTED_TAGS = 5


def rare_tags(token: Token, corpus: Ref, split: Ref, features: Blocks, board: Ref) -> Ref:
    """Score the tags on at most `min_tag_articles` articles; publishes two tables.

    ``rare_tags.csv`` tells, by how many training articles have a tag, how well such tags are found
    on the test part; ``rare_predictions.csv`` holds the five likeliest rare tags of every article
    without tags. Left out unless the setting `rare_tags` asks for it: the ref is then empty.
    """
    from tagsage.tracking.runs import log_results

    night = Night.of(token)
    settings = night.settings
    if not settings.rare_tags:
        night.workspace.unpublish(REPORT_FILE, PREDICTIONS_FILE)
        return ""
    best = night.workspace.open(board).summary["best"]
    inputs = {
        "corpus": corpus,
        "split": split,
        "candidate": best["ref"],
        "prior_weight": settings.rare_tags_prior_weight,
    }

    def build(folder: Path) -> dict[str, Any]:
        feature_set = best["candidate"].partition(":")[0]
        bench = _Bench.of(night, corpus, split, features, best["ref"], feature_set)
        if not bench.tags:
            return {"rare_tags": 0, "scores": {}, "candidate": best["candidate"]}
        report, scores = _judge(bench)
        report.to_csv(folder / REPORT_FILE, index=False)
        _predict(bench).to_csv(folder / PREDICTIONS_FILE, index=False)
        return {
            "rare_tags": len(bench.tags),
            "scores": scores,
            "candidate": best["candidate"],
        }

    artifact = night.artifact("rare_tags", inputs, build, code=(*LEARN_CODE, "graph"))
    logger.info("rare tags: %s", artifact.summary)
    scores = artifact.summary["scores"]
    if scores:
        import pandas as pd

        for name in (REPORT_FILE, PREDICTIONS_FILE):
            night.workspace.publish(artifact.path / name, name)
        log_results(
            tracking_of(settings),
            night.run_id,
            metrics={f"rare_tags_{key}": value for key, value in scores.items()},
            tables={REPORT_FILE: pd.read_csv(artifact.path / REPORT_FILE)},
        )
    else:
        night.workspace.unpublish(REPORT_FILE, PREDICTIONS_FILE)
    return artifact.ref


@dataclass(frozen=True)
class _Bench:
    """What rare tags are scored with."""

    night: Night
    snapshot: Snapshot
    labels: Labels
    fitted: FittedCandidate
    X: FeatureMatrix
    tags: list[str]
    rare: Csr

    @classmethod
    def of(
        cls, night: Night, corpus: Ref, split: Ref, features: Blocks, model: Ref, feature_set: str
    ) -> _Bench:
        from tagsage.learn.candidate import FittedCandidate
        from tagsage.learn.targets import rare_tag_matrix

        snapshot, labels = load_snapshot(night, corpus), load_labels(night, split)
        tags, rare = rare_tag_matrix(
            snapshot.articles["tags"].tolist(), labels.tags, min_articles=MIN_ARTICLES
        )
        fitted = FittedCandidate.load(night.workspace.open(model).path / MODEL_FOLDER)
        X = feature_matrix(night, features, feature_set)
        return cls(night, snapshot, labels, fitted, X, tags, rare)

    def scores(
        self, known: npt.NDArray[np.int64], Y: npt.NDArray[np.bool_], rows: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float32], Csr]:
        """Return probabilities of the target tags, and scores of the rare ones, of some articles.

        Parameters
        ----------
        known : int64 array, shape [m]
            Labelled articles whose tags are known; none of `rows`.
        Y : bool array, shape [m, L]
            Their target tags.
        rows : int64 array, shape [n]
            The articles wanted.
        """
        import numpy as np
        import scipy.sparse as sp

        from tagsage.graph.labels import LabelsConfig, list_labels
        from tagsage.learn.rare_tag_scores import (
            cooccurrence_scores,
            neighbour_tag_scores,
            tag_frequencies,
        )

        # Articles with rare tags alone teach these, too.
        tagged = np.flatnonzero(np.diff(self.rare.indptr) > 0)
        further = np.setdiff1d(tagged, self.labels.rows)
        known = np.concatenate([known, further])
        Y = np.concatenate([Y, np.zeros((len(further), Y.shape[1]), dtype=np.bool_)])
        config = LabelsConfig(prior_weight=self.night.settings.rare_tags_prior_weight)
        incidence = self.snapshot.incidence()
        lists = list_labels(incidence, known, self.rare[known], config)
        P = self.fitted.predict_proba(self.X, rows)
        frequencies = tag_frequencies(Y, self.rare[known])
        by_lists = neighbour_tag_scores(lists, incidence[rows], k=KEPT_TAGS)
        by_tags = cooccurrence_scores(P, frequencies, k=KEPT_TAGS)
        # Half of each was clearly better than either on one corpus, and no worse on the other.
        scores: Csr = sp.csr_array(by_lists * 0.5 + by_tags * 0.5).astype(np.float32)
        return P, scores


def _judge(bench: _Bench) -> tuple[pd.DataFrame, dict[str, float]]:
    """Score the test articles, their tags competing with the frequent ones."""
    import numpy as np
    import scipy.sparse as sp

    from tagsage.learn.rare_tags import (
        propensities,
        propensity_scored_precision,
        tail_report,
    )

    labels = bench.labels
    P, rare = bench.scores(labels.train_rows, labels.Y_train, labels.test_rows)
    truth: Csr = sp.hstack(
        [sp.csr_array(labels.Y_test), bench.rare[labels.test_rows]], format="csr"
    )
    rare_support = np.asarray(bench.rare[labels.train_rows].sum(axis=0)).ravel()
    support = np.concatenate([labels.Y_train.sum(axis=0), rare_support]).astype(np.int64)
    together: Csr = sp.hstack([sp.csr_array(P), rare], format="csr")
    frequent_only: Csr = sp.hstack([sp.csr_array(P), sp.csr_array(rare.shape)], format="csr")
    n = len(labels.train)
    # Scores of rare tags are no probabilities, and nothing is assigned by them.
    report = tail_report(
        together, truth.astype(bool), support, n, threshold=bench.fitted.threshold
    ).drop(columns="macro_f1")
    propensity = propensities(support, n)
    scores = {
        f"{key}{suffix}": float(value)
        for suffix, answers in (("", together), ("_target_tags_alone", frequent_only))
        for key, value in propensity_scored_precision(
            answers, truth.astype(bool), propensity
        ).items()
    }
    return report, scores


def _predict(bench: _Bench) -> pd.DataFrame:
    """Return the likeliest rare tags of every article without tags, by all tagged articles."""
    import numpy as np
    import pandas as pd

    from tagsage.graph.top_k import top_entries

    articles = bench.snapshot.articles
    has_none = (articles["tags"].map(len) == 0) & ~articles["is_stub"]
    rows = has_none.to_numpy().nonzero()[0]
    _, scores = bench.scores(bench.labels.rows, bench.labels.Y, rows)
    best = top_entries(scores, PREDICTED_TAGS)
    row = np.repeat(rows, np.diff(best.indptr))
    frame = pd.DataFrame({
        "story": articles["url"].to_numpy()[row],
        "tag": np.array(bench.tags, dtype=object)[best.indices],
        "score": best.data.astype(np.float64).round(6),
    })
    return frame.sort_values(["story", "score", "tag"], ascending=[True, False, True])

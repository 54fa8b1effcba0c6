"""A small run to report on; tests only read it."""

import numpy as np
import pandas as pd
import pytest

from tagsage.evaluate.changes import ChangeCounts
from tagsage.evaluate.corpus_checks import Check
from tagsage.evaluate.promotion import Gain, Guard
from tagsage.report.corpus_profile import CorpusProfile, profile_corpus
from tagsage.report.report_data import (
    ChangedArticle,
    Changes,
    Checked,
    Comparison,
    Example,
    Predicted,
    PredictedTag,
    ReportData,
)

METRICS = ("micro_f1", "macro_f1", "p_at_5", "lrap")
TEXT, GRAPH = "text:mlp", "text+lists:mlp"


@pytest.fixture(scope="module")
def articles() -> pd.DataFrame:
    # a and b share both lists, c is in one, d in none; e is a stub of the first list.
    return pd.DataFrame({
        "author": ["Ann", "Bob", "Ann", "Cyd", "Unknown"],
        "tags": [["python", "graphs"], ["python"], [], [], []],
        "is_stub": [False, False, False, False, True],
    })


@pytest.fixture(scope="module")
def memberships() -> tuple[np.ndarray, np.ndarray]:
    article_index = np.array([0, 1, 2, 4, 0, 1], dtype=np.int32)
    list_index = np.array([0, 0, 0, 0, 1, 1], dtype=np.int32)
    return article_index, list_index


@pytest.fixture(scope="module")
def profile(articles: pd.DataFrame, memberships: tuple[np.ndarray, np.ndarray]) -> CorpusProfile:
    return profile_corpus(
        articles,
        *memberships,
        n_lists=3,
        target_tags=["graphs", "python"],
        neighbours=np.array([2, 2, 2, 0, 2]),
    )


@pytest.fixture(scope="module")
def changes() -> Changes:
    return Changes(
        counts=vars(ChangeCounts(3, 2, 5, 1, 1_234, 7, 4, 99)),
        written={"added": 10, "changed": 20, "removed": 5, "unchanged": 970},
        articles=[
            ChangedArticle("Changed", "https://medium.example/b", ["python", "xml"], []),
            ChangedArticle("", "javascript:alert(1)", [], [f"t{i}" for i in range(9)]),
        ],
        suggested={"tagged_articles": 100, "articles": 1, "tags": 1},
        suggestions=[Example("Suggested", "", "", [PredictedTag("xml", 0.91, assigned=True)])],
    )


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    gain = {"text": 0.4, "graph": 0.484, "gain": 0.084, "high": 0.091}
    gains = pd.DataFrame([
        {"scenario": name, "metric": metric, "spread": spread, "splits": splits, "low": low} | gain
        for name, spread, splits, low in (
            ("transductive", 0.004, 3, 0.069),
            ("time", np.nan, 1, np.nan),
            ("share", np.nan, 1, np.nan),
        )
        for metric in METRICS
    ])
    interval = {"value": 0.08, "low": 0.07, "high": 0.09, "level": 0.95}
    intervals = pd.DataFrame([
        {"candidate": GRAPH, "baseline": baseline, "metric": metric} | interval
        for baseline in (None, TEXT)
        for metric in METRICS
    ])
    slices = pd.DataFrame([
        {"slice_kind": "list_degree", "slice": name, "articles": n, "candidate": candidate}
        | dict.fromkeys(METRICS, score)
        for name, n in (("0", 5), ("1", 0), (">10", 7))
        for candidate, score in ((TEXT, 0.25), (GRAPH, 0.5))
    ])
    per_tag = pd.DataFrame({"tag": ["a", "b"], "support": [4, 8], "average_precision": [0.5, 0.75]})
    curve = pd.DataFrame({"threshold": [0.5], "precision": [0.5], "recall": [0.5]})
    bins = {"low": [0.0], "high": [0.1], "predicted": [0.05], "observed": [0.04], "pairs": [9]}
    study = {"accuracy": [0.111], "macro_precision": [0.222], "weighted_precision": [0.333]}
    return Comparison(
        text=TEXT,
        graph=GRAPH,
        sentences=["Lists help <b>a lot</b>."],
        gains=gains,
        intervals=intervals,
        slices=slices,
        study=pd.DataFrame({"candidate": ["text:label_powerset"], **study}),
        curves={GRAPH: curve, TEXT: curve},
        per_tag={GRAPH: per_tag, TEXT: per_tag},
        reliability=pd.DataFrame(bins),
        calibration_errors={"ece": 0.001, "ece_top_5": 0.017},
        learning=pd.DataFrame({"candidate": GRAPH, "share": [0.5, 1.0], "macro_f1": [0.4, 0.5]}),
        not_measured={"inductive": "graphsage is not made anew"},
    )


@pytest.fixture(scope="module")
def run(profile: CorpusProfile, changes: Changes, comparison: Comparison) -> ReportData:
    return ReportData(
        run_id="scheduled__2026-11-22",
        started="22 November 2026, 02:00 UTC",
        version="0.1.0",
        corpus_name="articles.csv",
        profile=profile,
        leaderboard=pd.DataFrame({
            "candidate": [GRAPH, TEXT],
            "micro_f1": [0.667, 0.647],
            "macro_f1": [0.48, 0.44],
            "p_at_5": [0.302, 0.292],
            "lrap": [0.78, float("nan")],
            "fit_seconds": [65.0, 9.75],
        }),
        per_tag=pd.DataFrame({
            "tag": ["graphs", "python"],
            "precision": [0.5, 1.0],
            "recall": [0.25, 0.5],
            "f1": [1 / 3, 2 / 3],
            "support": [4, 8],
            "predicted": [2, 4],
        }),
        split={"train_articles": 80, "test_articles": 20, "test_share": 0.2, "seed": 42},
        predicted=Predicted(
            articles=2, assigned=1, tags=3, version="3", candidate="text+lists:mlp"
        ),
        promoted=True,
        promotion_reason="Promoted: there was no champion yet.",
        examples=[
            Example(
                "A title",
                "A subtitle",
                "https://medium.example/a-1",
                [
                    PredictedTag("python", 0.91, True, "the words snake, pip", 0.4),
                    PredictedTag("graphs", 0.12, assigned=False, threshold=0.28),
                ],
            )
        ],
        checked=Checked(
            compared_with="scheduled__2026-11-21",
            checks=[
                vars(
                    Check(
                        *("psi", "words a text", "PSI", "7.1 in the mean", "9.8", 0.412, 0.25),
                        passed=False,
                    )
                )
            ],
            failed=["words a text: 7.1 in the mean before, 9.8 this run (PSI 0.412, at most 0.25)"],
        ),
        graph={"SIMILAR pairs": 12345, "engine": "local"},
        graphsage_losses=[22.5, 18.0, 14.5],
        cost={"Model": "text-embedding-ada-002", "Tokens": 1_234_567, "Dollars": "$0.1235"},
        quarantine=pd.DataFrame({
            "file": ["articles.csv"],
            "kind": ["rejected"],
            "reason": ["no URL"],
            "rows": [3],
        }),
        stages=pd.DataFrame({"stage": ["ingest", "compare"], "seconds": [1.25, 83.0]}),
        changes=changes,
        comparison=comparison,
        checks=[
            vars(Guard("latency", 1234.5, 1000.0, None, passed=False, about="ms")),
            vars(Guard("size", 0.5, 1000.0, 1.25, passed=True, about="MB")),
            vars(Guard("calibration", 0.25, 1.0, 0.9, passed=True)),
        ],
        gain=vars(Gain(0.7, 0.65, 0.05, 0.04, 0.06, 2000, 50, 1)),
        settings={"seed": 42, "mlflow_tracking_uri": "http://ann:hush@mlflow:5000"},
    )

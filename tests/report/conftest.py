"""A small run to report on; tests only read it."""

import numpy as np
import pandas as pd
import pytest

from tagsage.report.data import Checked, Example, Predicted, PredictedTag, ReportData
from tagsage.report.eda import CorpusProfile, profile_corpus


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
def run(profile: CorpusProfile) -> ReportData:
    return ReportData(
        run_id="scheduled__2026-11-22",
        started="22 November 2026, 02:00 UTC",
        version="0.1.0",
        corpus_name="articles.csv",
        profile=profile,
        leaderboard=pd.DataFrame({
            "candidate": ["text+lists:mlp", "text:mlp"],
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
                {
                    "what": "words a text",
                    "measure": "PSI",
                    "before": "7.1 in the mean",
                    "current": "9.8",
                    "value": 0.412,
                    "limit": 0.25,
                    "passed": False,
                }
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
        settings={"seed": 42, "mlflow_tracking_uri": "http://ann:hush@mlflow:5000"},
    )

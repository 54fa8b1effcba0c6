from __future__ import annotations

from tagsage.evaluate.leaderboard import best_text_and_graph, rank_candidates


def result(candidate: str, *values: float) -> dict[str, object]:
    names = ("micro_f1", "macro_f1", "p_at_5", "lrap")
    return {
        "candidate": candidate,
        "accuracy": 0.5,
        "psp_at_5": 0.1,
        **dict(zip(names, values, strict=True)),
    }


def test_leaderboard_ranks_by_micro_macro_p5_lrap_and_then_name():
    board = rank_candidates([
        result("text:ovr_logistic", 0.4, 0.4, 0.3, 0.5),
        result("text:mlp", 0.4, 0.4, 0.3, 0.5),
        result("lists:mlp", 0.4, 0.4, 0.3, 0.6),
        result("graphsage:mlp", 0.4, 0.4, 0.4, 0.1),
        result("text+lists:mlp", 0.4, 0.5, 0.1, 0.1),
        result("text:label_powerset", 0.5, 0.1, 0.1, 0.1),
    ])
    assert board["candidate"].tolist() == [
        "text:label_powerset",
        "text+lists:mlp",
        "graphsage:mlp",
        "lists:mlp",
        "text:mlp",
        "text:ovr_logistic",
    ]
    assert board["rank"].tolist() == [1, 2, 3, 4, 5, 6]
    assert board["feature_set"].tolist()[:2] == ["text", "text+lists"]
    assert board["classifier"].tolist()[:2] == ["label_powerset", "mlp"]
    assert board["accuracy"].tolist() == [0.5] * 6


def test_the_best_on_text_and_on_lists_come_from_the_top_of_the_leaderboard():
    names = ("text+authors:mlp", "text+lists:mlp", "list_ids:linear", "words:linear", "text:mlp")
    ranking = [{"candidate": candidate} for candidate in names]
    # A candidate that knows authors is neither on text alone nor one of lists.
    assert best_text_and_graph(ranking) == {"graph": ranking[1], "text": ranking[3]}
    assert best_text_and_graph(ranking[:2]) == {"graph": ranking[1]}
    assert best_text_and_graph([]) == {}

"""A small corpus to evaluate scenarios on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tagsage.evaluate.scenarios import (
    Conditions,
    ScenarioInputs,
    Trained,
    TrainingPart,
    evaluate_scenario,
)
from tagsage.features import Articles, KnownArticles
from tagsage.features.fitting import fit_block
from tagsage.learn.labels import Labels
from tagsage.runner import LocalRunner
from tests.features import corpora

SETTINGS = corpora.SETTINGS.model_copy(update={"min_tag_articles": 5})
N = 80
RANDOM = np.random.default_rng(0)
GROUP = RANDOM.integers(0, 4, N)
VECTORS = RANDOM.normal(size=(N, 6)).astype(np.float32)
TAGS = np.eye(4, dtype=bool)[GROUP]
TRAIN, TEST = np.arange(0, 60), np.arange(60, N)


def articles_of(group: np.ndarray, vectors: np.ndarray) -> Articles:
    """Return articles whose lists tell their group; every fifth is in none."""
    n = len(group)
    return Articles.of_names(
        [f"word{number % 7} about{number % 3}" for number in range(n)],
        [f"author {number % 9}" for number in range(n)],
        [
            [] if number % 5 == 0 else [f"L{place}", f"M{number % 4}"]
            for number, place in enumerate(group)
        ],
        keys=[f"x.example/{number}" for number in range(n)],
        vectors=vectors,
    )


ARTICLES = articles_of(GROUP, VECTORS)


# The last three of each ten days are later than 2020; some of the articles there have no tags.
DATES = np.array(["2021-01-01" if number % 10 > 6 else "2019-01-01" for number in range(N)])
DATES = DATES.astype("datetime64[s]")
LATER = np.flatnonzero(np.datetime64("2020") < DATES)
TAGGED = np.array([number for number in range(N) if number % 7])


IN_TEST = np.isin(TAGGED, TEST)
# The run's split. Articles are families of two.
LABELS = Labels(
    list("abcd"),
    TAGGED,
    TAGS[TAGGED],
    np.flatnonzero(~IN_TEST),
    np.flatnonzero(IN_TEST),
    np.arange(len(TAGGED)) // 2,
)


def conditions_of(articles: Articles, folder: Path, feature_set: str) -> Conditions:
    """Fit blocks on the whole corpus, as the stage of the features does."""
    known = KnownArticles.of(articles, TRAIN, TAGS[TRAIN])
    folders = {}
    for name in feature_set.split("+"):
        folders[name] = folder / name
        folders[name].mkdir(parents=True)
        fit_block(folders[name], name, articles, known, SETTINGS, LocalRunner())
    (folder / "anew").mkdir()
    return Conditions(articles, np.arange(N), folders, SETTINGS, folder / "anew", LocalRunner())


def rows_of(X, rows: np.ndarray) -> np.ndarray:
    return X.sparse_rows(rows).toarray()


def inputs_of(
    articles: Articles, folder: Path, names: dict[str, str], labels: Labels = LABELS
) -> ScenarioInputs:
    """Return the inputs of scenarios, for a candidate on text and one with lists."""
    sets = [name.partition(":")[0] for name in names.values()]
    conditions = conditions_of(articles, folder, "+".join(dict.fromkeys("+".join(sets).split("+"))))
    part = TrainingPart.of(labels, seed=SETTINGS.seed)
    trained = conditions.train(names["graph"], part)
    known = trained.features.known
    return ScenarioInputs(conditions, labels, known, DATES, names, trained.fitted)


def evaluated(inputs: ScenarioInputs, scenario: str, folder: Path) -> tuple[list, list[Trained]]:
    """Evaluate a scenario; also returns what was trained for it."""
    made: list[Trained] = []
    train = Conditions.train

    def watched(*arguments, **options) -> Trained:
        made.append(train(*arguments, **options))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Conditions, "train", watched)
        rows = evaluate_scenario(inputs, scenario, folder)
    return rows, made

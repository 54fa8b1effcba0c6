"""The champion: batches, single requests, loading, explanations, co-listed articles.

A run with two candidates is run first. What is measured is its champion: text,
lists, labels and authors of the corpus, a network. *CPU ms* is the time of all cores together: it
says what a request costs where the wall clock says how busy the machine was.

Co-listed articles are evaluated on the run's test articles, with the candidate that was fitted
without them: of one of its lists, drawn at random, some other members are named.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.runner import SCORES, Row, measure, number, prepared, table
from tagsage.evaluate.metrics import evaluate
from tagsage.features import blocks_of
from tagsage.features.feature_set import KNOWN_FOLDER
from tagsage.features.fitting import STATE_FOLDER
from tagsage.learn.labels import Labels
from tagsage.pipeline import run_pipeline
from tagsage.registry.checksums import write_checksums
from tagsage.registry.tagger import CANDIDATE, Tagger
from tagsage.registry.tagger import FEATURES as FEATURES_FOLDER
from tagsage.stages.artifacts import KNOWN, MODEL_FOLDER
from tagsage.store.snapshot import Snapshot

SEED = 42
FEATURES = "text+lists+labels+authors"
SETTINGS = {"candidates": f"text:mlp,{FEATURES}:mlp", "scenarios": "", "seed": SEED}
BATCH = 55_000
REQUESTS = 1000
WARM = 20
COLISTED = (1, 3, 10)


def main(corpus: str) -> str:
    """Run a run, then measure its champion.

    Parameters
    ----------
    corpus : str
        Folder with articles.csv.gz and lists.csv.gz.

    Returns
    -------
    str
        Markdown tables.
    """
    with tempfile.TemporaryDirectory() as name:
        files = {kind: str(Path(corpus) / f"{kind}.csv.gz") for kind in ("articles", "lists")}
        run_pipeline({**SETTINGS, **files, "workspace": name})
        return report(Path(name) / "artifacts")


def report(artifacts: Path) -> str:
    """Measure the tagger of a run."""
    folder = found(artifacts, "tagger")
    explained = json.loads((found(artifacts, "explain") / "artifact.json").read_text())
    summary = explained["summary"]
    scoring = [
        measured(f"{BATCH:,} articles at once", artifacts, BATCH, in_batches),
        measured(f"{REQUESTS:,} articles, one per request", artifacts, REQUESTS, one_by_one),
    ]
    loading = [
        timed("load", lambda: bool(Tagger.load(folder))),
        timed("every file's SHA-256", lambda: write_checksums(folder)),
    ]
    return "\n\n".join([
        "### Scoring",
        table(scoring),
        "### Loading",
        table(loading),
        "### Explaining",
        f"The stage explained {summary['tags']:,} tags of {summary['articles']:,} articles in "
        f"{explained['seconds']:.0f} s.",
        "### Co-listed articles instead of lists",
        colisted(artifacts),
    ])


def found(artifacts: Path, stage: str, **inputs: str) -> Path:
    """Return the folder of an artifact of a stage, with these among its inputs."""
    for file in sorted(artifacts.glob(f"{stage}-*/artifact.json")):
        made = json.loads(file.read_text(encoding="utf-8"))["inputs"]
        if all(made.get(name) == value for name, value in inputs.items()):
            return file.parent
    raise FileNotFoundError(f"no artifact of {stage} with {inputs} in {artifacts}")


def articles_of(artifacts: Path, n: int) -> pd.DataFrame:
    """Return articles of the corpus as a tagger takes them, drawn at random."""
    snapshot = Snapshot.load(found(artifacts, "corpus"))
    rows = np.random.default_rng(SEED).integers(0, len(snapshot.articles), n)
    frame = snapshot.articles.iloc[rows][["title", "subtitle", "author"]].reset_index(drop=True)
    names = snapshot.list_names(snapshot.incidence()[rows])
    lists = pd.Series(names, index=frame.index, dtype=object)
    return frame.assign(lists=lists)


def measured(name: str, artifacts: Path, n: int, call: Any) -> Row:
    """Measure a way of scoring n articles."""

    def ready() -> tuple[Tagger, pd.DataFrame]:
        tagger, articles = Tagger.load(found(artifacts, "tagger")), articles_of(artifacts, n)
        for row in range(WARM):
            tagger.predict(articles.iloc[row : row + 1])
        return tagger, articles

    taken = measure(prepared(ready, lambda prepared_: call(*prepared_)))
    columns = {
        "ms per article": number(1000 * taken.seconds / n, 3),
        **{heading: taken.result.get(heading, "–") for heading in ("p50 ms", "p95 ms", "CPU ms")},
    }
    return Row(name, taken.seconds, taken.peak_mb, taken.extra_mb, columns)


def in_batches(tagger: Tagger, articles: pd.DataFrame) -> dict[str, str]:
    """Score all articles in one call."""
    tagger.predict(articles)
    return {}


def one_by_one(tagger: Tagger, articles: pd.DataFrame) -> dict[str, str]:
    """Score every article in a call of its own; returns how long these took."""
    wall, cpu = [], []
    for row in range(len(articles)):
        article = articles.iloc[row : row + 1]
        started, busy = time.perf_counter(), time.process_time()
        tagger.predict(article)
        wall.append(1000 * (time.perf_counter() - started))
        cpu.append(1000 * (time.process_time() - busy))
    return {
        "p50 ms": number(float(np.percentile(wall, 50)), 1),
        "p95 ms": number(float(np.percentile(wall, 95)), 1),
        "CPU ms": number(float(np.median(cpu)), 1),
    }


def timed(name: str, call: Callable[[], object]) -> Row:
    """Measure a part of loading, imports left out."""
    taken = measure(prepared(lambda: Tagger, lambda _: call()))
    return Row(name, taken.seconds, taken.peak_mb, taken.extra_mb)


def colisted(artifacts: Path) -> str:
    """Score the test articles that are in lists, by what is given of these."""
    snapshot = Snapshot.load(found(artifacts, "corpus"))
    labels = Labels.load(found(artifacts, "split"))
    tagger = fitted_without_test(artifacts, artifacts.parent / "without-test")
    incidence = snapshot.incidence()
    members = incidence.T.tocsr()
    sizes = np.diff(members.indptr)
    rng = np.random.default_rng(SEED)
    chosen, others = [], []
    for place, row in enumerate(labels.test_rows.tolist()):
        lists = incidence.indices[incidence.indptr[row] : incidence.indptr[row + 1]]
        lists = lists[sizes[lists] > 1]
        if not len(lists):
            continue
        one = int(rng.choice(lists))
        inside = members.indices[members.indptr[one] : members.indptr[one + 1]]
        chosen.append(place)
        others.append(rng.permutation(inside[inside != row]))
    rows, Y = labels.test_rows[chosen], labels.Y_test[chosen]
    keys = snapshot.articles["key"].to_numpy(dtype=object)
    given: dict[str, dict[str, list[Any]]] = {
        "nothing": {},
        **{
            f"{most} of the others in one of them": {
                "articles": [keys[some[:most]].tolist() for some in others]
            }
            for most in COLISTED
        },
        "all its lists by name": {"lists": snapshot.list_names(incidence[rows])},
    }
    lines = ["| given of the lists | " + " | ".join(SCORES.values()) + " |"]
    lines.append("|---|" + "---:|" * len(SCORES))
    frame = snapshot.articles.iloc[rows][["title", "subtitle", "author"]].reset_index(drop=True)
    frame["story"] = keys[rows]
    for what, columns in given.items():
        series = {name: pd.Series(of, dtype=object) for name, of in columns.items()}
        X = tagger.features.transform(tagger.articles_of(frame.assign(**series)))
        P, assigned = tagger.candidate.predict(X, np.arange(len(rows)))
        scores = evaluate(P, Y, assigned, tagger.candidate.tags)
        cells = " | ".join(number(scores.overall[metric], 3) for metric in SCORES)
        lines.append(f"| {what} | {cells} |")
    return f"{len(rows):,} test articles that are in lists.\n\n" + "\n".join(lines)


def fitted_without_test(artifacts: Path, folder: Path) -> Tagger:
    """Return the same tagger, but fitted on the training articles alone.

    Parameters
    ----------
    artifacts : pathlib.Path
        The run's.
    folder : pathlib.Path
        Takes its files, which stay memory-mapped; does not exist yet.
    """
    shutil.copytree(found(artifacts, "tagger"), folder)
    candidate = found(artifacts, "candidate", feature_set=FEATURES) / MODEL_FOLDER
    made = json.loads((candidate.parent / "artifact.json").read_text(encoding="utf-8"))
    features = {name: artifacts / ref for name, ref in made["inputs"]["features"].items()}
    states = {name: features[name] / STATE_FOLDER for name in blocks_of(FEATURES)}
    for name, state in {**states, KNOWN_FOLDER: features[KNOWN]}.items():
        shutil.copytree(state, folder / FEATURES_FOLDER / name, dirs_exist_ok=True)
    shutil.copytree(candidate, folder / CANDIDATE, dirs_exist_ok=True)
    return Tagger.load(folder)

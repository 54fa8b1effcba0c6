import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tagsage.embed import plan as plan_module
from tagsage.embed.lsa import LsaEmbedder
from tagsage.embed.lsa_plan import plan_lsa
from tagsage.embed.plan import Plan, collect, embed_batch, plan_missing, prune
from tagsage.embed.text import text_hashes
from tagsage.errors import TagsageError

WORDS = [f"w{i}" for i in range(30)]


def some_texts(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, 4)) + f" n{seed}x{i}" for i in range(n)]


def make_plan(texts: list[str], folder: Path, refit_share: float = 0.1, seed: int = 1) -> Plan:
    return plan_lsa(
        texts,
        text_hashes(texts),
        folder=folder,
        dimensions=4,
        max_terms=1000,
        refit_share=refit_share,
        seed=seed,
    )


def run(texts: list[str], folder: Path, out: Path, plan: Plan | None = None) -> dict:
    plan = plan or make_plan(texts, folder)
    hashes, embedder = text_hashes(texts), plan.embedder()
    for batch in range(len(plan.batches)):
        embed_batch(plan, batch, texts, hashes, embedder=embedder, folder=folder)
    out.mkdir(exist_ok=True)
    return collect(plan, texts, hashes, embedder=embedder, folder=folder, out=out)


class CountingEmbedder:
    """Says how often it was asked; a text's vector is its length."""

    model_id = "counting/1"
    dimensions = 2

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        return np.array([[len(t), 1] for t in texts], np.float32).reshape(-1, 2)


def test_the_three_steps_leave_the_vectors_of_the_model_in_the_articles_order(tmp_path):
    texts = ["", *some_texts(20), "", *some_texts(5)]
    plan = make_plan(texts, tmp_path / "v")
    summary = run(texts, tmp_path / "v", tmp_path / "out", plan)
    vectors = np.load(tmp_path / "out" / "vectors.npy")
    np.testing.assert_array_equal(vectors, plan.embedder().embed(texts))
    assert vectors.dtype == np.float32
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["vectors.npy"]
    assert summary == {
        "model_id": plan.model_id,
        "dimensions": 4,
        "articles": 27,
        "articles_without_text": 2,
        "unique_texts": 20,
        "new_texts": 20,
        "batches": 1,
        "embedder": "lsa",
        "refitted": True,
        "unseen_share": None,
        "terms": len(plan.embedder().vocabulary),
        "zero_vectors": 2,
        "zero_vectors_with_text": 0,
        "embedded_late": 0,
    }
    json.dumps(summary)


def test_the_model_is_kept_while_the_unseen_share_is_at_most_the_refit_share(tmp_path):
    old = some_texts(90)
    first = make_plan(old, tmp_path)
    run(old, tmp_path, tmp_path / "out", first)
    # 10 of 100 different texts are new: exactly a tenth; duplicates do not count.
    texts = [*old, *some_texts(10, seed=9), *old[:50]]
    kept = make_plan(texts, tmp_path, refit_share=0.1)
    assert kept.model_id == first.model_id
    assert kept.summary["refitted"] is False
    assert kept.summary["unseen_share"] == pytest.approx(0.1)
    assert kept.missing.tolist() == list(range(90, 100))


def test_the_model_is_refitted_beyond_the_refit_share(tmp_path):
    old = some_texts(90)
    first = make_plan(old, tmp_path)
    refitted = make_plan([*old, *some_texts(11, seed=9)], tmp_path, refit_share=0.1)
    assert refitted.model_id != first.model_id
    assert refitted.summary["refitted"] is True
    assert refitted.summary["unseen_share"] == pytest.approx(11 / 101, abs=1e-6)
    assert len(refitted.missing) == 101


def test_of_several_models_the_one_that_saw_most_is_kept(tmp_path):
    a, b = some_texts(50, seed=1), some_texts(50, seed=2)
    plan_a, plan_b = make_plan(a, tmp_path), make_plan(b, tmp_path)
    assert plan_a.model_id != plan_b.model_id
    for _ in range(2):
        assert make_plan(a, tmp_path).model_id == plan_a.model_id
        assert make_plan(b, tmp_path).model_id == plan_b.model_id


def test_a_model_of_other_parameters_is_not_kept(tmp_path):
    texts = some_texts(20)
    assert make_plan(texts, tmp_path, seed=1).summary["refitted"]
    assert make_plan(texts, tmp_path, seed=2).summary["refitted"]
    assert not make_plan(texts, tmp_path, seed=1).summary["refitted"]


def test_a_plan_made_again_after_a_kill_is_the_same_but_for_the_word_refitted(tmp_path):
    texts = some_texts(20)
    before, again = make_plan(texts, tmp_path), make_plan(texts, tmp_path)
    assert again.model_id == before.model_id
    np.testing.assert_array_equal(again.missing, before.missing)
    assert again.batches == before.batches


def test_the_same_texts_give_the_same_vectors_in_another_folder(tmp_path):
    texts = some_texts(40)
    for name in ("a", "b"):
        run(texts, tmp_path / name, tmp_path / f"{name}.out")
    np.testing.assert_array_equal(
        np.load(tmp_path / "a.out" / "vectors.npy"), np.load(tmp_path / "b.out" / "vectors.npy")
    )


@pytest.mark.parametrize("file", ["lsa.json", "seen.npy", "components.npy", "vocabulary.json"])
@pytest.mark.parametrize("how", ["cut", "missing"])
def test_a_damaged_model_is_set_aside_and_fitted_again(file, how, tmp_path, caplog):
    texts = some_texts(20)
    first = make_plan(texts, tmp_path)
    path = tmp_path / "models" / first.model_id / file
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        path.unlink()
    again = make_plan(texts, tmp_path)
    assert again.model_id == first.model_id
    assert again.summary["refitted"] is True
    assert "Set the damaged folder" in caplog.text
    assert make_plan(texts, tmp_path).summary["refitted"] is False


def test_a_half_written_model_of_a_killed_process_is_not_read(tmp_path):
    (tmp_path / "models" / ".tmp-1").mkdir(parents=True)
    assert make_plan(some_texts(5), tmp_path).summary["refitted"] is True


@pytest.mark.parametrize("texts", [[], ["", ""], ["?!", ""]])
def test_without_a_word_the_run_goes_on_with_zero_vectors_and_a_warning(texts, tmp_path, caplog):
    summary = run(texts, tmp_path / "v", tmp_path / "out")
    vectors = np.load(tmp_path / "out" / "vectors.npy")
    np.testing.assert_array_equal(vectors, np.zeros((len(texts), 4)))
    assert summary["warning"] == "No text holds a word: every vector is zero."
    assert summary["zero_vectors"] == len(texts)
    assert summary["warning"] in caplog.text


def test_a_model_without_words_is_not_kept_once_there_are_texts(tmp_path):
    make_plan(["", ""], tmp_path)
    plan = make_plan(some_texts(3), tmp_path, refit_share=1.0)
    assert plan.summary["refitted"] is True
    assert plan.summary["terms"] > 0


def test_a_saved_plan_holds_its_model_and_works_without_the_folder_of_models(tmp_path):
    texts = some_texts(20)
    plan = make_plan(texts, tmp_path / "v")
    saved = tmp_path / "plan"
    saved.mkdir()
    plan.save(saved)
    shutil.rmtree(tmp_path / "v")
    loaded = Plan.load(saved)
    assert (loaded.model_id, loaded.batches, loaded.summary) == (
        plan.model_id,
        plan.batches,
        plan.summary,
    )
    np.testing.assert_array_equal(loaded.missing, plan.missing)
    # Another machine: no cache, no models; only the plan's folder and the texts.
    summary = run(texts, tmp_path / "elsewhere", tmp_path / "out", loaded)
    assert summary["zero_vectors"] == 0
    assert not list(saved.rglob("seen.npy"))


@pytest.mark.parametrize("file", ["plan.json", "missing.npy"])
def test_a_damaged_plan_is_refused_in_one_sentence(file, tmp_path):
    plan = make_plan(some_texts(5), tmp_path / "v")
    plan.save(tmp_path)
    (tmp_path / file).write_bytes(b"{")
    with pytest.raises(TagsageError, match=r"Cannot read the embedding plan in .*; remove it"):
        Plan.load(tmp_path)


def test_batches_cover_what_is_missing_once_and_are_at_most_a_thousand(tmp_path):
    hashes = text_hashes([f"t{i}" for i in range(4500)])
    plan = plan_missing(hashes, folder=tmp_path, model_id="m", dimensions=2, batch_size=2)
    assert len(plan.batches) == 900  # five texts a batch: with four there would be 1,125
    covered = [row for start, stop in plan.batches for row in plan.missing[start:stop]]
    assert covered == list(range(4500))
    few = plan_missing(hashes[:5], folder=tmp_path, model_id="m", dimensions=2, batch_size=2)
    assert few.batches == ((0, 2), (2, 4), (4, 5))


def test_nothing_missing_means_no_batch_and_collect_still_writes(tmp_path):
    texts = some_texts(20)
    run(texts, tmp_path / "v", tmp_path / "one")
    plan = make_plan(texts, tmp_path / "v")
    assert plan.batches == ()
    run(texts, tmp_path / "v", tmp_path / "two", plan)
    assert (tmp_path / "one" / "vectors.npy").read_bytes() == (
        tmp_path / "two" / "vectors.npy"
    ).read_bytes()


def test_a_batch_that_runs_again_embeds_only_what_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(plan_module, "PUT_ROWS", 2)
    texts = ["a", "bb", "", "a", "ccc", "dddd", "eeeee"]
    hashes, embedder = text_hashes(texts), CountingEmbedder()
    plan = plan_missing(hashes, folder=tmp_path, model_id="counting/1", dimensions=2, batch_size=3)
    assert [plan.missing[slice(*b)].tolist() for b in plan.batches] == [[0, 1, 4], [5, 6]]
    told = embed_batch(plan, 0, texts, hashes, embedder=embedder, folder=tmp_path)
    assert told == {"texts": 3, "embedded": 3}
    again = embed_batch(plan, 0, texts, hashes, embedder=embedder, folder=tmp_path)
    assert again == {"texts": 3, "embedded": 0}
    assert embedder.asked == ["a", "bb", "ccc"]


def test_a_batch_killed_half_way_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(plan_module, "PUT_ROWS", 2)
    texts = ["a", "bb", "ccc", "dddd", "eeeee"]
    hashes, embedder = text_hashes(texts), CountingEmbedder()
    plan = plan_missing(hashes, folder=tmp_path, model_id="counting/1", dimensions=2, batch_size=9)

    class DiesLate(CountingEmbedder):
        def embed(self, texts: Sequence[str]) -> np.ndarray:
            if "ccc" in texts:
                raise KeyboardInterrupt
            return super().embed(texts)

    with pytest.raises(KeyboardInterrupt):
        embed_batch(plan, 0, texts, hashes, embedder=DiesLate(), folder=tmp_path)
    embed_batch(plan, 0, texts, hashes, embedder=embedder, folder=tmp_path)
    assert embedder.asked == ["ccc", "dddd", "eeeee"]


def test_collect_embeds_what_the_cache_lost_meanwhile(tmp_path):
    texts = ["a", "bb", "", "a", "ccc"]
    hashes, embedder = text_hashes(texts), CountingEmbedder()
    plan = plan_missing(hashes, folder=tmp_path, model_id="counting/1", dimensions=2, batch_size=9)
    embed_batch(plan, 0, texts, hashes, embedder=embedder, folder=tmp_path)
    for file in (tmp_path / "cache").rglob("vectors.npy"):
        file.write_bytes(file.read_bytes()[:-1])
    embedder.asked.clear()
    summary = collect(plan, texts, hashes, embedder=embedder, folder=tmp_path, out=tmp_path)
    assert embedder.asked == ["a", "bb", "ccc"]
    assert summary["embedded_late"] == 3
    assert np.load(tmp_path / "vectors.npy")[:, 0].tolist() == [1, 2, 0, 1, 3]


def test_zero_vectors_are_counted_apart_when_there_is_a_text(tmp_path):
    texts = [*some_texts(50), "", "unheard-of"]
    plan = make_plan(texts[:50], tmp_path / "v")
    hashes, embedder = text_hashes(texts), plan.embedder()
    plan = plan_missing(
        hashes, folder=tmp_path / "v", model_id=plan.model_id, dimensions=4, batch_size=9
    )
    summary = collect(plan, texts, hashes, embedder=embedder, folder=tmp_path / "v", out=tmp_path)
    assert (summary["zero_vectors"], summary["zero_vectors_with_text"]) == (2, 1)


def test_another_embedder_than_the_plans_and_an_unknown_batch_are_refused(tmp_path):
    texts = ["a"]
    hashes = text_hashes(texts)
    plan = plan_missing(hashes, folder=tmp_path, model_id="other", dimensions=2, batch_size=9)
    with pytest.raises(ValueError, match="the plan is for other, not for counting/1"):
        embed_batch(plan, 0, texts, hashes, embedder=CountingEmbedder(), folder=tmp_path)
    with pytest.raises(ValueError, match="batch=1 is not one of the plan's 1"):
        embed_batch(plan, 1, texts, hashes, embedder=CountingEmbedder(), folder=tmp_path)
    with pytest.raises(TagsageError, match="holds no model; give its embedder"):
        plan.embedder()


def test_prune_removes_the_models_and_vectors_that_are_not_kept(tmp_path):
    a, b = some_texts(20, seed=1), some_texts(20, seed=2)
    plan_a, plan_b = make_plan(a, tmp_path), make_plan(b, tmp_path)
    for texts, plan in ((a, plan_a), (b, plan_b)):
        run(texts, tmp_path, tmp_path / "out", plan)
    assert prune(tmp_path, [plan_b.model_id]) == 1
    assert make_plan(b, tmp_path).batches == ()
    assert make_plan(a, tmp_path).summary["refitted"] is True
    assert not LsaEmbedder.load(tmp_path / "models" / plan_b.model_id).embed([""]).any()


KILLED = """
import sys, time
from pathlib import Path
import numpy as np
from tagsage.embed import plan as module
from tagsage.embed.text import text_hashes

class Slow:
    model_id, dimensions = "counting/1", 2
    def embed(self, texts):
        if "ccc" in texts:
            print("second part", flush=True)
            time.sleep(600)
        return np.array([[len(t), 1] for t in texts], np.float32)

module.PUT_ROWS = 2
folder, texts = Path(sys.argv[1]), sys.argv[2:]
hashes = text_hashes(texts)
plan = module.plan_missing(hashes, folder=folder, model_id="counting/1", dimensions=2, batch_size=9)
module.embed_batch(plan, 0, texts, hashes, embedder=Slow(), folder=folder)
"""


def test_after_a_sigkill_what_was_put_is_there_and_the_rest_is_done(tmp_path):
    texts = ["a", "bb", "ccc", "dddd"]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), *texts], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "second part\n"
        process.kill()
    hashes, embedder = text_hashes(texts), CountingEmbedder()
    plan = plan_missing(hashes, folder=tmp_path, model_id="counting/1", dimensions=2, batch_size=9)
    embed_batch(plan, 0, texts, hashes, embedder=embedder, folder=tmp_path)
    collect(plan, texts, hashes, embedder=embedder, folder=tmp_path, out=tmp_path)
    assert embedder.asked == ["ccc", "dddd"]
    assert np.load(tmp_path / "vectors.npy")[:, 0].tolist() == [1, 2, 3, 4]

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagsage.vectors import cache as cache_module
from tagsage.vectors.cache import VectorCache, prune_caches
from tagsage.vectors.files import safe_name
from tagsage.vectors.text import text_hashes


def rows_for(texts: list[str], dimensions: int = 3) -> np.ndarray:
    """A vector that tells its text: the text's number in every place."""
    return np.array([[float(t[1:])] * dimensions for t in texts], np.float32).reshape(
        -1, dimensions
    )


def gathered(cache: VectorCache, texts: list[str]) -> tuple[np.ndarray, int]:
    out = np.full((len(texts), cache.dimensions), 9, np.float32)
    return out, cache.gather(text_hashes(texts), out)


def segments(cache: VectorCache) -> list[Path]:
    return sorted(cache.folder.iterdir())


def test_missing_rows_are_the_first_of_each_unseen_text_without_empty_ones(tmp_path):
    cache = VectorCache(tmp_path, "m", 3)
    cache.put(text_hashes(["t1", "t2"]), rows_for(["t1", "t2"]))
    hashes = text_hashes(["", "t3", "t1", "t3", "t4", ""])
    missing = cache.missing(hashes)
    assert missing.tolist() == [1, 4]
    assert missing.dtype == np.int64


def test_gather_copies_vectors_in_order_and_leaves_zero_for_empty_and_missing(tmp_path):
    cache = VectorCache(tmp_path, "m", 3)
    cache.put(text_hashes(["t2", "t1"]), rows_for(["t2", "t1"]))
    cache.put(text_hashes(["t5"]), rows_for(["t5"]))
    out, missing = gathered(cache, ["t5", "t1", "", "t7", "t2", "t7", "t5"])
    assert out[:, 0].tolist() == [5, 1, 0, 0, 2, 0, 5]
    assert missing == 1  # t7, once


def test_an_empty_cache_gathers_zeros(tmp_path):
    out, missing = gathered(VectorCache(tmp_path, "m", 2), ["t1", ""])
    assert not out.any()
    assert missing == 1
    assert gathered(VectorCache(tmp_path, "m", 2), [])[1] == 0


def test_gather_writes_into_a_memory_map(tmp_path):
    cache = VectorCache(tmp_path / "c", "m", 2)
    cache.put(text_hashes(["t1"]), rows_for(["t1"], 2))
    out = np.lib.format.open_memmap(tmp_path / "v.npy", mode="w+", dtype=np.float32, shape=(2, 2))
    assert cache.gather(text_hashes(["t1", "t1"]), out) == 0
    out.flush()
    assert np.load(tmp_path / "v.npy").tolist() == [[1, 1], [1, 1]]


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_puts_then_gather_agree_with_a_dictionary(data, tmp_path_factory):
    some = st.lists(st.sampled_from([f"t{i}" for i in range(12)]), max_size=8)
    cache = VectorCache(tmp_path_factory.mktemp("cache"), "m", 2)
    known: dict[str, float] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_module, "BLOCK_ROWS", 3)
        patch.setattr(cache_module, "MAX_SEGMENTS", 2)
        for texts in data.draw(st.lists(some, max_size=5)):
            cache.put(text_hashes(texts), rows_for(texts, 2))
            known |= {t: float(t[1:]) for t in texts}
            if data.draw(st.booleans()):
                cache.compact()
        asked = data.draw(st.lists(st.sampled_from(["", *(f"t{i}" for i in range(15))])))
        out, missing = gathered(cache, asked)
    assert out[:, 0].tolist() == [known.get(t, 0.0) for t in asked]
    assert missing == len({t for t in asked if t and t not in known})


def test_putting_the_same_texts_twice_keeps_one_segment_and_the_first_vectors(tmp_path):
    cache = VectorCache(tmp_path, "m", 3)
    hashes = text_hashes(["t1", "t2"])
    cache.put(hashes, rows_for(["t1", "t2"]))
    cache.put(hashes[::-1], rows_for(["t8", "t9"]))
    assert len(segments(cache)) == 1
    assert gathered(cache, ["t1", "t2"])[0][:, 0].tolist() == [1, 2]


def test_putting_nothing_makes_no_segment(tmp_path):
    cache = VectorCache(tmp_path, "m", 3)
    cache.put(text_hashes([]), np.zeros((0, 3), np.float32))
    assert not cache.folder.exists()


def test_models_do_not_share_vectors_whatever_their_names(tmp_path):
    names = ["a/b", "a_b", "A_b", "../a", "a\0b", "", "x" * 300, "damaged-x", ".tmp-1"]
    for i, name in enumerate(names):
        VectorCache(tmp_path, name, 3).put(text_hashes(["t1"]), rows_for([f"t{i}"]))
    found = [gathered(VectorCache(tmp_path, name, 3), ["t1"])[0][0, 0] for name in names]
    assert found == list(range(len(names)))
    assert len({safe_name(name).lower() for name in names}) == len(names)
    assert len(list(tmp_path.iterdir())) == len(names)


def test_a_plain_model_name_is_its_own_folder_name():
    assert safe_name("lsa-256-0123abc") == "lsa-256-0123abc"


def damage(segment: Path, how: str) -> None:
    if how == "truncated vectors":
        file = segment / "vectors.npy"
        file.write_bytes(file.read_bytes()[:-4])
    elif how == "zeroed vectors":
        file = segment / "vectors.npy"
        raw = file.read_bytes()
        file.write_bytes(raw[:-8] + bytes(8))
    elif how == "changed keys":
        keys = np.load(segment / "keys.npy")
        keys[0] = b"0" * 32
        np.save(segment / "keys.npy", keys)
    elif how == "empty json":
        (segment / "segment.json").write_text("")
    elif how == "no checksum":
        (segment / "segment.json").write_text(json.dumps({}))
    elif how == "no keys":
        (segment / "keys.npy").unlink()


@pytest.mark.parametrize(
    "how",
    ["truncated vectors", "zeroed vectors", "changed keys", "empty json", "no checksum", "no keys"],
)
def test_a_damaged_segment_is_set_aside_with_its_reason_and_can_be_put_again(how, tmp_path, caplog):
    cache = VectorCache(tmp_path, "m", 3)
    cache.put(text_hashes(["t1"]), rows_for(["t1"]))
    cache.put(text_hashes(["t2"]), rows_for(["t2"]))
    damage(segments(cache)[0], how)
    fresh = VectorCache(tmp_path, "m", 3)
    out, missing = gathered(fresh, ["t1", "t2"])
    assert missing == 1
    assert sorted(out[:, 0].tolist()) in ([0, 1], [0, 2])
    assert "Set the damaged folder" in caplog.text
    assert sum(path.name.startswith("damaged-") for path in segments(cache)) == 1
    fresh.put(text_hashes(["t1", "t2"]), rows_for(["t1", "t2"]))
    assert gathered(fresh, ["t1", "t2"])[0][:, 0].tolist() == [1, 2]


def test_vectors_of_another_width_are_set_aside(tmp_path, caplog):
    VectorCache(tmp_path, "m", 3).put(text_hashes(["t1"]), rows_for(["t1"]))
    assert gathered(VectorCache(tmp_path, "m", 2), ["t1"])[1] == 1
    assert "not float32 (1, 2)" in caplog.text


def test_leftovers_of_a_killed_put_are_not_read(tmp_path):
    cache = VectorCache(tmp_path, "m", 3)
    (cache.folder / ".tmp-0123").mkdir(parents=True)
    (cache.folder / ".tmp-0123" / "keys.npy").write_bytes(b"half")
    assert gathered(cache, ["t1"])[1] == 1
    assert (cache.folder / ".tmp-0123").exists()  # its process may still be at work


def test_compaction_joins_small_segments_and_changes_no_vector(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "MAX_SEGMENTS", 4)
    monkeypatch.setattr(cache_module, "BLOCK_ROWS", 2)
    cache = VectorCache(tmp_path, "m", 3)
    texts = [f"t{i}" for i in range(1, 16)]
    for i in range(0, 15, 3):
        # Neighbours overlap, as after batches that ran twice with other sizes.
        cache.put(text_hashes(texts[i : i + 4]), rows_for(texts[i : i + 4]))
    assert cache.compact() == 5
    assert len(segments(cache)) == 1
    out, missing = gathered(cache, texts)
    assert out[:, 2].tolist() == list(range(1, 16))
    assert missing == 0
    assert cache.compact() == 0


def test_compaction_keeps_a_segment_that_holds_the_keys_of_all_others(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "MAX_SEGMENTS", 1)
    cache = VectorCache(tmp_path, "m", 3)
    cache.put(text_hashes(["t1"]), rows_for(["t1"]))
    cache.put(text_hashes(["t1", "t2"]), rows_for(["t1", "t2"]))
    assert cache.compact() == 2
    assert gathered(cache, ["t1", "t2"])[1] == 0


def test_compaction_leaves_large_segments_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "MAX_SEGMENTS", 1)
    monkeypatch.setattr(cache_module, "SMALL_SEGMENT_ROWS", 1)
    cache = VectorCache(tmp_path, "m", 3)
    for texts in (["t1", "t2"], ["t3", "t4"], ["t5"]):
        cache.put(text_hashes(texts), rows_for(texts))
    assert cache.compact() == 0
    assert len(segments(cache)) == 3


def test_a_reader_whose_segment_is_compacted_away_looks_again(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "MAX_SEGMENTS", 1)
    cache = VectorCache(tmp_path, "m", 3)
    cache.put(text_hashes(["t1"]), rows_for(["t1"]))
    cache.put(text_hashes(["t2"]), rows_for(["t2"]))
    open_segment, compacted = cache._open, []

    def compact_first(folder):
        if not compacted:
            compacted.append(VectorCache(tmp_path, "m", 3).compact())
        return open_segment(folder)

    monkeypatch.setattr(cache, "_open", compact_first)
    out, missing = gathered(cache, ["t1", "t2"])
    assert compacted == [2]
    assert out[:, 0].tolist() == [1, 2]
    assert missing == 0


PUT_MANY = """
import sys
from pathlib import Path
import numpy as np
from tagsage.vectors import cache as module
from tagsage.vectors.text import text_hashes
module.MAX_SEGMENTS = 2
cache = module.VectorCache(Path(sys.argv[1]), "m", 3)
for i in range(int(sys.argv[2]), int(sys.argv[2]) + 120, 4):
    numbers = range(i, i + 8)
    cache.put(text_hashes([f"t{j}" for j in numbers]), np.array([[j] * 3 for j in numbers], "f4"))
    cache.compact()
"""


def test_several_processes_put_and_compact_at_once_and_nothing_is_lost(tmp_path):
    workers = [
        subprocess.Popen([sys.executable, "-c", PUT_MANY, str(tmp_path), str(start)])
        for start in (1, 3, 61)
    ]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    texts = [f"t{i}" for i in range(1, 185)]
    out, missing = gathered(VectorCache(tmp_path, "m", 3), texts)
    assert missing == 0
    assert out[:, 0].tolist() == list(range(1, 185))
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith("damaged-")]


def test_a_segment_removed_just_as_its_like_is_put_is_written_again(tmp_path, monkeypatch):
    cache = VectorCache(tmp_path, "m", 3)
    cache.put(text_hashes(["t1"]), rows_for(["t1"]))
    (segment,) = segments(cache)
    rename, asked = Path.rename, []

    def rename_and_lose(self, target):
        asked.append(target)
        try:
            return rename(self, target)
        except OSError:
            shutil.rmtree(segment)  # what another process's compaction does
            raise

    monkeypatch.setattr(Path, "rename", rename_and_lose)
    cache.put(text_hashes(["t1"]), rows_for(["t1"]))
    assert len(asked) == 2
    assert gathered(cache, ["t1"])[1] == 0


def test_a_put_that_fails_for_another_reason_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="No space left"):
        VectorCache(tmp_path, "m", 3).put(text_hashes(["t1"]), rows_for(["t1"]))
    assert list((tmp_path / "m").iterdir()) == []


def test_prune_removes_other_models_and_keeps_the_named_ones(tmp_path):
    for name in ("lsa-1", "Open/AI", "old"):
        VectorCache(tmp_path, name, 3).put(text_hashes(["t1"]), rows_for(["t1"]))
    assert prune_caches(tmp_path, ["lsa-1", "Open/AI"]) == {"old"}
    assert gathered(VectorCache(tmp_path, "Open/AI", 3), ["t1"])[1] == 0
    assert gathered(VectorCache(tmp_path, "old", 3), ["t1"])[1] == 1
    assert prune_caches(tmp_path / "nowhere", []) == set()


def test_vectors_of_the_wrong_shape_or_not_finite_are_refused(tmp_path):
    cache = VectorCache(tmp_path, "m", 3)
    with pytest.raises(ValueError, match=r"vectors have shape \(1, 2\), not \(1, 3\)"):
        cache.put(text_hashes(["t1"]), np.zeros((1, 2), np.float32))
    with pytest.raises(ValueError, match="not finite"):
        cache.put(text_hashes(["t1"]), np.full((1, 3), np.nan, np.float32))
    with pytest.raises(ValueError, match=r"out has shape \(2, 3\), not \(1, 3\)"):
        cache.gather(text_hashes(["t1"]), np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match="must be at least 1"):
        VectorCache(tmp_path, "m", 0)

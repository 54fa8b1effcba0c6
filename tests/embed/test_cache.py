import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagsage.embed import cache as cache_module
from tagsage.embed import files as files_module
from tagsage.embed import segments as segments_module
from tagsage.embed.cache import VectorCache
from tagsage.embed.caches import CacheContent, caches, prune_caches, survey
from tagsage.embed.files import finished_folders, locked, safe_name
from tagsage.embed.text import text_hashes


def rows_for(texts: list[str], dimensions: int = 3) -> np.ndarray:
    """A vector that tells its text: the text's number in every place."""
    return np.array([[float(t[1:])] * dimensions for t in texts], np.float32).reshape(
        -1, dimensions
    )


def gathered(cache: VectorCache, texts: list[str]) -> tuple[np.ndarray, int]:
    out = np.full((len(texts), cache.dimensions), 9, np.float32)
    return out, cache.gather(text_hashes(texts), out)


def segments(cache: VectorCache) -> list[Path]:
    return sorted(path for path in cache.folder.iterdir() if path.is_dir())


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


def test_a_large_cache_gathered_into_a_large_file_stays_out_of_memory(tmp_path):
    code = """
import re, sys
from pathlib import Path
import numpy as np
from tagsage.embed.cache import VectorCache
from tagsage.embed.text import text_hashes
folder, n = Path(sys.argv[1]), 20_000
cache = VectorCache(folder, "m", 1000)
hashes = text_hashes([str(i) for i in range(n)])
for start in range(0, n, 2000):
    rows = np.arange(start, start + 2000, dtype=np.float32)
    cache.put(hashes[start : start + 2000], np.repeat(rows[:, None], 1000, axis=1))
out = np.lib.format.open_memmap(folder / "v.npy", mode="w+", dtype=np.float32, shape=(n, 1000))
def memory(name):
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{name}:\\s+(\\d+) kB", status)[1]) // 1024
Path("/proc/self/clear_refs").write_text("5")
before = memory("VmRSS")
assert cache.gather(hashes, out) == 0
print(memory("VmHWM") - before)
assert (np.load(folder / "v.npy", mmap_mode="r")[:, 0] == np.arange(n)).all()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    # 76 MiB of vectors, read from the cache and written.
    assert int(done.stdout) < 76


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_puts_then_gather_agree_with_a_dictionary(data, tmp_path_factory):
    some = st.lists(st.sampled_from([f"t{i}" for i in range(12)]), max_size=8)
    cache = VectorCache(tmp_path_factory.mktemp("cache"), "m", 2)
    known: dict[str, float] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_module, "GATHERED_ROWS", 3)
        patch.setattr(cache_module, "MAX_ALIKE", 2)
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
    elif how == "header of the vectors":
        file = segment / "vectors.npy"
        file.write_bytes(b"?" + file.read_bytes()[1:])
    elif how.startswith("digit"):
        file = segment / how.rpartition(" ")[2]
        raw = file.read_bytes()
        digit = raw.index(b"(") + (4 if how.startswith("digit of the numbers") else 1)
        file.write_bytes(raw[:digit] + bytes([raw[digit] ^ 1]) + raw[digit + 1 :])
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


def test_vectors_of_another_width_are_kept_apart(tmp_path):
    VectorCache(tmp_path, "m", 3).put(text_hashes(["t1"]), rows_for(["t1"]))
    narrow = VectorCache(tmp_path, "m", 2)
    assert gathered(narrow, ["t1"])[1] == 1
    narrow.put(text_hashes(["t1"]), rows_for(["t4"], 2))
    assert gathered(narrow, ["t1"])[0].tolist() == [[4, 4]]
    assert gathered(VectorCache(tmp_path, "m", 3), ["t1"])[0].tolist() == [[1, 1, 1]]


def test_a_segment_copied_from_another_models_cache_is_set_aside(tmp_path, caplog):
    ours, other = VectorCache(tmp_path, "m", 3), VectorCache(tmp_path, "other", 3)
    other.put(text_hashes(["t1"]), rows_for(["t1"]))
    shutil.copytree(segments(other)[0], ours.folder / segments(other)[0].name)
    assert ours.missing(text_hashes(["t1"])).tolist() == [0]
    assert "it is one of other, 3 numbers" in caplog.text


def test_of_a_damaged_segment_the_blocks_that_are_sound_are_kept(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(segments_module, "CHECK_ROWS", 2)
    texts = sorted((f"t{i}" for i in range(1, 10)), key=lambda text: text_hashes([text])[0])
    for how, lost in [
        ("changed keys", texts[:2]),
        ("zeroed vectors", texts[8:]),
        ("truncated vectors", texts[8:]),
        ("header of the vectors", []),
        ("digit of the rows in vectors.npy", []),
        ("digit of the numbers in vectors.npy", []),
    ]:
        cache = VectorCache(tmp_path / how, "m", 3)
        cache.put(text_hashes(texts), rows_for(texts))
        damage(segments(cache)[0], how)
        caplog.clear()
        # A cache that has not checked it yet, and one that looked at its keys before.
        for one in (VectorCache(tmp_path / how, "m", 3), cache):
            out, missing = gathered(one, texts)
            assert missing == len(lost)
            assert out[:, 0].tolist() == [0 if t in lost else float(t[1:]) for t in texts]
            assert [texts[row] for row in one.missing(text_hashes(texts))] == lost
        assert f"{len(lost)} of its 9 vectors are not as they were written" in caplog.text


def test_a_changed_digit_in_the_header_of_the_keys_costs_nothing(tmp_path):
    texts = [f"t{i}" for i in range(1, 10)]
    cache = VectorCache(tmp_path, "m", 3)
    cache.put(text_hashes(texts), rows_for(texts))
    damage(segments(cache)[0], "digit of the rows in keys.npy")
    out, missing = gathered(VectorCache(tmp_path, "m", 3), texts)
    assert missing == 0
    assert out[:, 0].tolist() == [float(text[1:]) for text in texts]


def test_a_segment_whose_length_was_written_wrongly_keeps_its_sound_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(segments_module, "CHECK_ROWS", 2)
    texts = [f"t{i}" for i in range(1, 10)]
    cache = VectorCache(tmp_path, "m", 3)
    cache.put(text_hashes(texts), rows_for(texts))
    file = segments(cache)[0] / "segment.json"
    file.write_text(file.read_text().replace('"rows": 9', '"rows": 8'))
    assert gathered(VectorCache(tmp_path, "m", 3), texts)[1] == 0


def test_damage_found_while_segments_are_joined_costs_only_the_damaged_block(tmp_path, monkeypatch):
    cache = VectorCache(tmp_path, "m", 3)
    for text in ("t1", "t2", "t3"):
        cache.put(text_hashes([text]), rows_for([text]))
    damage(segments(cache)[1], "zeroed vectors")
    monkeypatch.setattr(cache_module, "MAX_ALIKE", 1)
    fresh = VectorCache(tmp_path, "m", 3)
    assert fresh.compact() == 2
    assert gathered(fresh, ["t1", "t2", "t3"])[1] == 1


def test_too_many_open_files_are_no_damage(tmp_path, monkeypatch):
    cache = VectorCache(tmp_path, "m", 3)
    cache.put(text_hashes(["t1"]), rows_for(["t1"]))

    def full(self, *arguments, **options):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Path, "read_text", full)
    with pytest.raises(OSError, match="Too many open files"):
        VectorCache(tmp_path, "m", 3).missing(text_hashes(["t1"]))
    monkeypatch.undo()
    assert gathered(VectorCache(tmp_path, "m", 3), ["t1"])[1] == 0


def test_leftovers_of_a_killed_put_are_not_read(tmp_path):
    cache = VectorCache(tmp_path, "m", 3)
    (cache.folder / ".tmp-0123").mkdir(parents=True)
    (cache.folder / ".tmp-0123" / "keys.npy").write_bytes(b"half")
    assert gathered(cache, ["t1"])[1] == 1
    assert (cache.folder / ".tmp-0123").exists()  # its process may still be at work


def put_apart(cache: VectorCache, *puts: list[str]) -> None:
    """Put without joining what is there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_module, "MAX_ALIKE", 10**6)
        for texts in puts:
            cache.put(text_hashes(texts), rows_for(texts))


def test_compaction_joins_small_segments_and_changes_no_vector(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "MAX_ALIKE", 4)
    monkeypatch.setattr(segments_module, "BLOCK_ROWS", 2)
    monkeypatch.setattr(segments_module, "CHECK_ROWS", 2)
    cache = VectorCache(tmp_path, "m", 3)
    texts = [f"t{i}" for i in range(1, 16)]
    # Neighbours overlap, as after batches that ran twice with other sizes.
    put_apart(cache, *(texts[i : i + 4] for i in range(0, 15, 3)))
    assert len(segments(cache)) == 5
    assert cache.compact() == 5
    assert len(segments(cache)) == 1
    out, missing = gathered(cache, texts)
    assert out[:, 2].tolist() == list(range(1, 16))
    assert missing == 0
    assert cache.compact() == 0


def test_compaction_keeps_a_segment_that_holds_the_keys_of_all_others(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "MAX_ALIKE", 1)
    cache = VectorCache(tmp_path, "m", 3)
    put_apart(cache, ["t1"], ["t1", "t2"])
    assert cache.compact() == 2
    assert gathered(cache, ["t1", "t2"])[1] == 0


def test_compaction_leaves_large_segments_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "MAX_ALIKE", 1)
    monkeypatch.setattr(cache_module, "SMALL_SEGMENT_ROWS", 1)
    cache = VectorCache(tmp_path, "m", 3)
    put_apart(cache, ["t1", "t2"], ["t3", "t4"], ["t5"])
    assert cache.compact() == 0
    assert len(segments(cache)) == 3


def test_only_segments_of_about_the_same_size_are_joined(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "MAX_ALIKE", 1)
    cache = VectorCache(tmp_path, "m", 3)
    put_apart(cache, [f"t{i}" for i in range(9)], ["t11"])
    assert cache.compact() == 0
    put_apart(cache, ["t12"])
    assert cache.compact() == 2
    assert len(segments(cache)) == 2


def test_many_small_puts_leave_few_segments_and_copy_each_row_a_few_times(tmp_path, monkeypatch):
    copied = []
    written = VectorCache._write

    def counted(self, keys, vectors):
        copied.append(len(keys))
        return written(self, keys, vectors)

    monkeypatch.setattr(VectorCache, "_write", counted)
    cache = VectorCache(tmp_path, "m", 3)
    most = 0
    for i in range(300):
        cache.put(text_hashes([f"t{i}"]), rows_for([f"t{i}"]))
        most = max(most, len(finished_folders(cache.folder)))
    assert most <= 2 * cache_module.MAX_ALIKE + 2
    # Once when it comes, once to segments of 17, once to one of these together.
    assert sum(copied) <= 3 * 300
    assert gathered(cache, [f"t{i}" for i in range(300)])[1] == 0


def test_while_another_process_joins_segments_nobody_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "MAX_ALIKE", 1)
    cache = VectorCache(tmp_path, "m", 3)
    put_apart(cache, ["t1"], ["t2"])
    with locked(cache.folder / cache_module.JOINING):
        assert cache.compact() == 0
        cache.put(text_hashes(["t3"]), rows_for(["t3"]))
    assert len(segments(cache)) == 3
    assert cache.compact() == 3


@pytest.mark.parametrize("call", ["_open", "_sound_vectors"])
def test_a_reader_whose_segment_is_compacted_away_looks_again(call, tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "MAX_ALIKE", 1)
    cache = VectorCache(tmp_path, "m", 3)
    put_apart(cache, ["t1"], ["t2"])
    cache._opened = {}
    real, compacted = getattr(cache, call), []

    def compact_first(argument):
        if not compacted:
            # Between listing and opening, the lock keeps them there.
            with pytest.MonkeyPatch.context() as patch:
                if call == "_open":
                    patch.setattr(cache_module, "LOCK", ".other-lock")
                compacted.append(VectorCache(tmp_path, "m", 3).compact())
        return real(argument)

    monkeypatch.setattr(cache, call, compact_first)
    out, missing = gathered(cache, ["t1", "t2"])
    assert compacted == [2]
    assert out[:, 0].tolist() == [1, 2]
    assert missing == 0


PUT_MANY = """
import sys
from pathlib import Path
import numpy as np
from tagsage.embed import cache as module
from tagsage.embed.text import text_hashes
module.MAX_ALIKE = 2
cache = module.VectorCache(Path(sys.argv[1]), "m", 3)
for i in range(int(sys.argv[2]), int(sys.argv[2]) + 120, 4):
    numbers = range(i, i + 8)
    cache.put(text_hashes([f"t{j}" for j in numbers]), np.array([[j] * 3 for j in numbers], "f4"))
    cache.compact()
"""


LOOK_ALWAYS = """
import sys
from pathlib import Path
import numpy as np
from tagsage.embed.cache import VectorCache
from tagsage.embed.text import text_hashes
cache = VectorCache(Path(sys.argv[1]), "m", 3)
seen = np.zeros(185, bool)
hashes = text_hashes([f"t{j}" for j in range(185)])
while not Path(sys.argv[2]).exists():
    there = np.ones(185, bool)
    there[cache.missing(hashes)] = False
    assert there[seen].all(), "a text was there and is not"
    seen = there
    if there.any():
        out = np.zeros((int(there.sum()), 3), np.float32)
        assert cache.gather(hashes[there], out) == 0
        assert (out[:, 0] == np.flatnonzero(there)).all()
print(int(seen.sum()))
"""


def test_several_processes_put_join_and_read_at_once_and_nothing_is_lost(tmp_path):
    folder, end = tmp_path / "cache", tmp_path / "end"
    reader = subprocess.Popen(
        [sys.executable, "-c", LOOK_ALWAYS, str(folder), str(end)],
        stdout=subprocess.PIPE,
        text=True,
    )
    workers = [
        subprocess.Popen([sys.executable, "-c", PUT_MANY, str(folder), str(start)])
        for start in (1, 3, 61)
    ]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    end.touch()
    seen, _ = reader.communicate()
    assert reader.returncode == 0
    assert int(seen) > 0
    texts = [f"t{i}" for i in range(1, 185)]
    out, missing = gathered(VectorCache(folder, "m", 3), texts)
    assert missing == 0
    assert out[:, 0].tolist() == list(range(1, 185))
    assert not [p for p in folder.rglob("*") if p.name.startswith("damaged-")]


PUT_AND_TELL = """
import sys
from pathlib import Path
import numpy as np
from tagsage.embed import cache as module
from tagsage.embed.text import text_hashes
module.MAX_ALIKE = 2
cache = module.VectorCache(Path(sys.argv[1]), "m", 3)
for i in range(int(sys.argv[2]), 10**6):
    cache.put(text_hashes([f"t{i}"]), np.full((1, 3), i, "f4"))
    print(i, flush=True)
"""


def test_what_a_killed_process_had_put_is_there(tmp_path):
    told: list[int] = []
    for wait_for in (3, 8, 5, 13):
        start = told[-1] + 1 if told else 1
        worker = subprocess.Popen(
            [sys.executable, "-c", PUT_AND_TELL, str(tmp_path), str(start)],
            stdout=subprocess.PIPE,
            text=True,
        )
        told += [int(worker.stdout.readline()) for _ in range(wait_for)]
        worker.kill()
        rest, _ = worker.communicate()
        told += [int(line) for line in rest.split("\n")[:-1]]
    out, missing = gathered(VectorCache(tmp_path, "m", 3), [f"t{i}" for i in told])
    assert missing == 0
    assert out[:, 0].tolist() == told
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith("damaged-")]


def test_files_and_folders_are_on_the_disk_before_they_have_their_name(tmp_path, monkeypatch):
    events = []
    sync, rename = files_module.sync, Path.rename

    def synced(path):
        events.append(("sync", path.name if path.is_file() else "folder"))
        sync(path)

    def renamed(self, target):
        events.append(("rename", ""))
        return rename(self, target)

    monkeypatch.setattr(files_module, "sync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    VectorCache(tmp_path / "new", "m", 3).put(text_hashes(["t1"]), rows_for(["t1"]))
    place = events.index(("rename", ""))
    names = {name for _, name in events[:place]}
    assert names == {"keys.npy", "vectors.npy", "segment.json", "folder"}
    # The folders above, made anew: new, new/m, new/m/3; and that of the segment.
    assert sum(name == "folder" for _, name in events[:place]) == 4
    assert events[place + 1 :] == [("sync", "folder")]


def test_removed_texts_have_no_vector_and_the_others_keep_theirs(tmp_path, monkeypatch):
    cache = VectorCache(tmp_path, "m", 3)
    assert cache.remove(text_hashes(["t1"])) == 0
    put_apart(cache, ["t1", "t2", "t3"], ["t2", "t4"], ["t5"])
    assert cache.remove(text_hashes(["t2", "t5", "t9", "t2"])) == 2
    out, missing = gathered(cache, ["t1", "t2", "t3", "t4", "t5"])
    assert out[:, 0].tolist() == [1, 0, 3, 4, 0]
    assert missing == 2
    assert cache.hashes().tolist() == sorted(text_hashes(["t1", "t3", "t4"]).tolist())
    assert len(segments(cache)) == 2


def test_texts_are_removed_from_what_is_left_of_a_damaged_segment(tmp_path, monkeypatch):
    monkeypatch.setattr(segments_module, "CHECK_ROWS", 1)
    cache = VectorCache(tmp_path, "m", 3)
    texts = sorted(["t1", "t2", "t3"], key=lambda text: text_hashes([text])[0])
    cache.put(text_hashes(texts), rows_for(texts))
    damage(segments(cache)[0], "zeroed vectors")
    assert VectorCache(tmp_path, "m", 3).remove(text_hashes(texts[:1])) == 1
    assert gathered(cache, texts)[0][:, 0].tolist() == [0, float(texts[1][1:]), 0]


def test_a_survey_tells_models_texts_bytes_segments_and_damage(tmp_path):
    assert survey(tmp_path / "nowhere") == []
    plain, odd = VectorCache(tmp_path, "m", 3), VectorCache(tmp_path, "Open/AI", 2)
    put_apart(plain, ["t1", "t2"], ["t2", "t3"], ["t4"])
    odd.put(text_hashes(["t1"]), rows_for(["t1"], 2))
    holds_t4 = next(s for s in segments(plain) if len(np.load(s / "keys.npy")) == 1)
    damage(holds_t4, "truncated vectors")
    gathered(plain, ["t4"])
    (tmp_path / "m" / "7").mkdir()  # nothing was put there yet
    size = sum(file.stat().st_size for file in plain.folder.rglob("*") if file.is_file())
    told = {content.model_id: content for content in survey(tmp_path)}
    assert told["m"] == CacheContent("m", 3, texts=3, size=size, segments=2, damaged=1)
    assert (told["Open/AI"].dimensions, told["Open/AI"].texts) == (2, 1)
    assert len(told) == 2
    assert {cache.folder for cache in caches(tmp_path)} == {plain.folder, odd.folder}


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
    assert list((tmp_path / "m" / "3").iterdir()) == []


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

"""Values that processes hand each other as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from upath import UPath

from tagsage.runner.exchange import Exchange, load_value


@pytest.fixture(params=["folder", "object storage"])
def exchange(request, tmp_path) -> Exchange:
    folder = str(tmp_path) if request.param == "folder" else f"memory://{tmp_path.name}"
    UPath(folder).mkdir(parents=True, exist_ok=True)
    return Exchange(folder)


def test_values_come_back_as_they_were(exchange):
    matrix = sp.random_array((500, 400), density=0.2, format="csr", rng=np.random.default_rng(0))
    texts = np.array([f"text {number}" for number in range(9000)], dtype=object)
    found = load_value(exchange.save({"matrix": matrix, "texts": texts, "few": np.arange(3)}))
    assert (found["matrix"] != matrix).nnz == 0
    assert np.array_equal(found["texts"], texts)
    assert found["few"].tolist() == [0, 1, 2]


def test_a_large_array_is_written_once_and_cannot_be_changed(exchange):
    many = np.arange(100_000.0)
    first, second = (load_value(exchange.save([many, part])) for part in ("a", "b"))
    assert len([path for path in UPath(exchange.folder).iterdir() if path.suffix == ".npy"]) == 1
    assert np.array_equal(first[0], second[0])
    with pytest.raises(ValueError, match="read-only"):
        first[0][0] = 1


def test_arrays_that_follow_one_another_in_memory_are_not_confused(tmp_path):
    exchange = Exchange(str(tmp_path))
    # Each may get the place, and so the id, of the one before.
    addresses = [exchange.save(np.full(20_000, float(number))) for number in range(20)]
    assert [load_value(address)[0] for address in addresses] == list(range(20))


@pytest.mark.parametrize("rows", [slice(None), slice(7000, 19_000), slice(0, 0)])
def test_what_lies_in_a_file_of_the_workspace_is_not_copied(rows, tmp_path):
    (tmp_path / "scratch").mkdir()
    vectors = np.lib.format.open_memmap(
        tmp_path / "vectors.npy", mode="w+", dtype=np.float32, shape=(20_000, 8)
    )
    vectors[:] = np.arange(160_000).reshape(20_000, 8)
    exchange = Exchange(str(tmp_path / "scratch"), str(tmp_path))
    found = load_value(exchange.save(np.asarray(vectors)[rows]))
    assert np.array_equal(found, vectors[rows])
    assert not list(Path(exchange.folder).glob("*.npy"))
    assert np.array_equal(load_value(exchange.save(vectors[::2])), vectors[::2])

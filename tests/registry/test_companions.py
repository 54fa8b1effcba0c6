"""Known companions stand for the lists that hold most of them."""

import numpy as np
import pytest
import scipy.sparse as sp

from tagsage.registry.companions import MOST_COMPANIONS, Companions, write_companions

# Lists: 0 = {a, b, c}, 1 = {b, c}, 2 = {c, d}; e is in none.
KEYS = ["x.example/a", "x.example/b", "x.example/c", "x.example/d", "x.example/e"]
INCIDENCE = sp.csr_array(
    np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 1], [0, 0, 0]], dtype=np.float32)
)


@pytest.fixture
def companions(tmp_path) -> Companions:
    write_companions(tmp_path / "companions", KEYS, INCIDENCE)
    return Companions.load(tmp_path / "companions")


@pytest.mark.parametrize(
    ("articles", "lists"),
    [
        (["x.example/a"], [0]),
        (["x.example/c"], [0, 1, 2]),
        (["x.example/a", "x.example/b"], [0]),
        (["x.example/b", "x.example/c"], [0, 1]),
        # Two of three are more than half.
        (["x.example/a", "x.example/b", "x.example/c"], [0, 1]),
        # No list holds more than half: those that hold the most.
        (["x.example/a", "x.example/d"], [0, 2]),
        # Whatever the address, and each once.
        (["https://x.example/a/?q=1", "http://x.example/a", "x.example/a"], [0]),
        # What is in no list, unknown, or no address does not count.
        (["x.example/e", "x.example/zzz", "not an address", ""], []),
        (["x.example/a", "x.example/e", "y.example/a"], [0]),
        ([], []),
    ],
)
def test_lists_of_companions_by_hand(companions, articles, lists):
    assert companions.lists_of(articles) == lists


def test_only_so_many_companions_are_looked_at(companions):
    unknown = [f"y.example/{number}" for number in range(MOST_COMPANIONS)]
    assert companions.lists_of([*unknown, "x.example/a"]) == []


def test_companions_of_many_lists_do_not_say_which_is_meant(tmp_path):
    incidence = sp.csr_array(np.array([[1, 1, 1, 1], [1, 1, 1, 0]], dtype=np.float32))
    write_companions(tmp_path / "many", KEYS[:2], incidence)
    many = Companions.load(tmp_path / "many")
    assert many.lists_of(["x.example/a"]) == []
    assert many.lists_of(["x.example/b"]) == [0, 1, 2]
    assert many.lists_of(["x.example/a", "x.example/b"]) == [0, 1, 2]


def test_corpus_without_memberships_knows_no_companions(tmp_path):
    write_companions(tmp_path / "none", KEYS, sp.csr_array((5, 0), dtype=np.float32))
    assert Companions.load(tmp_path / "none").lists_of(["x.example/a"]) == []

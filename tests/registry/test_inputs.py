"""Articles as arrays: names to lists, rows taken, columns renumbered."""

import numpy as np
import pytest
import scipy.sparse as sp

from tagsage.graph.labels import Own
from tagsage.registry.inputs import Inputs, members_of, renumbered, used_columns
from tagsage.registry.servable import Tagger

INDEX = {"a": 0, "b": 1, "c": 2}


def test_members_are_known_lists_each_once_and_ascending():
    made = members_of(INDEX, [["c", "a", "c"], [], ["unknown"], ["b"]])
    assert made.toarray().tolist() == [[1, 0, 1], [0, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert made.indices.tolist() == [0, 2, 1]


def test_further_lists_join_those_that_are_named():
    made = members_of(INDEX, [["c"], [], ["b"]], [[0, 2], [1], ()])
    assert made.toarray().tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 0]]


def test_no_article_and_no_list():
    assert members_of(INDEX, []).shape == (0, 3)
    assert members_of({}, [["a"]]).shape == (1, 0)


@pytest.mark.parametrize("seed", range(3))
def test_renumbered_columns_are_the_dense_ones_moved(seed):
    rng = np.random.default_rng(seed)
    dense = (rng.random((6, 5)) < 0.5).astype(np.float32)
    numbers = np.array([3, -1, 0, 6, 1])
    expected = np.zeros((6, 7), dtype=np.float32)
    for column, number in enumerate(numbers):
        if number >= 0:
            expected[:, number] = dense[:, column]
    made = renumbered(sp.csr_array(dense), numbers, 7)
    assert np.array_equal(made.toarray(), expected)
    assert made.has_sorted_indices


def test_used_columns_leave_out_those_without_entries():
    narrow, used = used_columns(sp.csr_array(np.array([[0, 1, 0, 0], [0, 1, 0, 1.0]])))
    assert used.tolist() == [1, 3]
    assert narrow.toarray().tolist() == [[1, 0], [1, 1]]


def inputs(n: int = 3) -> Inputs:
    return Inputs(
        np.arange(2.0 * n, dtype=np.float32).reshape(n, 2),
        sp.csr_array(np.eye(n, dtype=np.float32)),
        sp.csr_array((n, 0), dtype=np.float32),
        own=Own(np.arange(n) == 1, np.eye(n, dtype=bool)),
        given={"fastrp": np.arange(n, dtype=np.float32)[:, None]},
    )


def test_rows_may_be_taken_several_times():
    taken = inputs().take(np.array([2, 0, 2]))
    assert taken.text.tolist() == [[4, 5], [0, 1], [4, 5]]
    assert taken.members.toarray().argmax(axis=1).tolist() == [2, 0, 2]
    assert taken.own is not None
    assert taken.own.labels.argmax(axis=1).tolist() == [2, 0, 2]
    assert taken.given["fastrp"].ravel().tolist() == [2, 0, 2]
    assert len(taken) == 3


def test_given_block_takes_the_place_of_the_one_that_would_be_made(tmp_path, make_served):
    featuriser = Tagger.load(make_served(tmp_path, "text+fastrp")).featuriser
    alone = featuriser.inputs(["pears"], [""], [[]])
    known = np.full((1, 8), 0.5, dtype=np.float32)
    given = Inputs(alone.text, alone.members, alone.authors, given={"fastrp": known})
    assert np.array_equal(featuriser.blocks_of(given)[1], known)
    assert not np.array_equal(featuriser.blocks_of(alone)[1], known)

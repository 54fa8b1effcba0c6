"""The linear classifier on sparse features."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from tagsage.features.matrix import FeatureMatrix
from tagsage.learn.classifiers import make_classifier


def words_and_lists(n: int = 400) -> tuple[FeatureMatrix, np.ndarray]:
    """The first two words decide the first tag, the first list the second."""
    rng = np.random.default_rng(0)
    words = (rng.random((n, 30)) < 0.2).astype(np.float32)
    lists = (rng.random((n, 10)) < 0.2).astype(np.float32)
    Y = np.stack([(words[:, 0] + words[:, 1]) > 0, lists[:, 0] > 0], axis=1)
    in_list = lists.sum(axis=1) > 0
    blocks = [sp.csr_array(words), sp.csr_array(lists)]
    return FeatureMatrix(blocks, kinds=("words", "list_ids"), in_list=in_list), Y


def test_linear_finds_the_words_and_lists_that_decide():
    X, Y = words_and_lists()
    rows = np.arange(len(X))
    fitted = make_classifier("linear", seed=0).fit(X, rows[:300], Y[:300])
    assert ((fitted.predict_proba(X, rows[300:]) > 0.5) == Y[300:]).mean() > 0.98
    coef = fitted.arrays["coef"]
    assert set(np.argsort(-coef[:, 0])[:2]) == {0, 1}
    assert np.argmax(coef[:, 1]) == 30


def test_a_block_of_many_columns_is_not_made_dense():
    X, Y = words_and_lists()
    with pytest.raises(ValueError, match="sparse"):
        make_classifier("mlp", seed=0).fit(X, np.arange(len(X)), Y)


def test_sparse_rows_join_sparse_and_dense_blocks():
    dense = np.arange(6, dtype=np.float16).reshape(3, 2)
    sparse = sp.csr_array(np.eye(3, dtype=np.float32))
    X = FeatureMatrix([sparse, dense], kinds=("words", "text"))
    assert X.sparse_rows(np.array([2, 0])).toarray().tolist() == [
        [0, 0, 1, 4, 5],
        [1, 0, 0, 0, 1],
    ]

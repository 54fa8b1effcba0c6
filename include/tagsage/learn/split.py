"""The one split of a run: iteratively stratified, seeded, the same for every candidate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from tagsage.corpus.fields import DEFAULT_DATE_S
from tagsage.features.matrix import BoolArray

# Iterative stratification visits row after row in Python: 6 s for 11,260 rows × 174 tags. Beyond
# this size a shuffled split is as even: of a tag on 1 in 1,000 rows, the test part of 200,000 rows
# at 20% holds 40 ± 6.
MAX_STRATIFIED_ROWS = 200_000

TEST, TRAIN, NEW = 1, 0, -1
"""The part that a row had in an earlier split; new rows had none."""
# Beyond this the earlier parts are too uneven to continue: half or twice the share held out.
SHARE_FACTOR = 2.0


@dataclass(frozen=True)
class Split:
    """Two parts of the rows 0 … n-1: sorted, together all rows, each once."""

    train: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]


def stratified_split(Y: BoolArray, *, test_share: float, seed: int) -> Split:
    """Split rows so that every tag keeps its share in both parts; `Y` [n, L] are the rows' tags.

    Rows without a tag keep their share, too.
    Iterative stratification (Sechidis, Tsoumakas, Vlahavas: On the stratification of multi-label
    data, 2011) only comes close to `test_share`. Where no tag varies or there are very many rows,
    they are shuffled and cut. Of two rows or more, each part has one.
    """
    n = len(Y)
    if n == 1:
        return Split(np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int64))
    # Here, not above: a served model imports this module and never splits.
    from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit

    Y = np.column_stack([Y, ~Y.any(axis=1)])
    varying = Y.any(axis=0) & ~Y.all(axis=0)
    n_test = min(max(round(n * test_share), 1), n - 1)
    if varying.any() and n <= MAX_STRATIFIED_ROWS:
        splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=n_test, random_state=seed)
        labels = Y[:, varying]
        if labels.shape[1] == 1:
            # The stratifier takes a single column for something else than tags.
            labels = np.hstack([labels, ~labels])
        _, test = next(splitter.split(np.zeros((n, 1)), labels))
        if 0 < len(test) < n:
            return _split(n, test)
    return _split(n, np.random.default_rng(seed).permutation(n)[:n_test])


def continued_split(
    Y: BoolArray, parts: npt.NDArray[np.int8], *, test_share: float, seed: int
) -> Split | None:
    """Split rows so that those of an earlier split keep their part (`TEST`, `TRAIN` or `NEW`).

    New rows are stratified. None where the parts can't be kept: no row has one, a part would be
    empty, or the share held out would be less than half or more than twice `test_share`.
    """
    n = len(Y)
    known_test, new = np.flatnonzero(parts == TEST), np.flatnonzero(parts == NEW)
    if len(new) == n:
        return None
    wanted = min(max(round(n * test_share) - len(known_test), 0), len(new))
    if 0 < wanted < len(new):
        share = wanted / len(new)
        test = new[stratified_split(Y[new], test_share=share, seed=seed).test]
    else:
        test = new[:wanted]
    split = _split(n, np.concatenate([known_test, test]))
    share = len(split.test) / n
    if not 0 < share < 1 or not test_share / SHARE_FACTOR <= share <= test_share * SHARE_FACTOR:
        return None
    return split


def split_by_family(
    Y: BoolArray, families: npt.NDArray[np.int64], *, test_share: float, seed: int
) -> Split | None:
    """Split rows so that no family is in both parts, and tags keep about their shares.

    Families are stratified by the tags that they have and by their size, in powers of two; `Y`
    [n, L] and `families` [n] are the rows'. None when all rows are of one family.
    """
    names, family, sizes = np.unique(families, return_inverse=True, return_counts=True)
    if len(names) < 2:
        return None
    traits = np.column_stack([Y, ~Y.any(axis=1)])
    members = sp.csr_array((np.ones(len(Y)), (family, np.arange(len(Y)))))
    size = np.log2(sizes).astype(np.int64)
    of_family = np.column_stack([members @ traits > 0, size[:, None] == np.arange(size.max() + 1)])
    chosen = stratified_split(of_family, test_share=test_share, seed=seed).test
    return _split(len(Y), np.flatnonzero(np.isin(family, chosen)))


def split_by_time(dates: npt.NDArray[np.datetime64], *, test_share: float) -> Split | None:
    """Split rows so that every test row is later than every dated training row.

    Rows of unknown date are for training. Rows of one moment stay together, so the test part may be
    smaller than `test_share`. None when no date is later than another.
    """
    moments = dates.astype("datetime64[s]").astype(np.int64)
    dated = np.sort(moments[moments != DEFAULT_DATE_S])
    if not len(dated) or dated[0] == dated[-1]:
        return None
    # At least one row is later than the limit, and at least one is not.
    limit = min(dated[int((1 - test_share) * (len(dated) - 1))], dated[dated < dated[-1]][-1])
    test = np.flatnonzero((moments > limit) & (moments != DEFAULT_DATE_S))
    return _split(len(dates), test)


def rows_since(dates: npt.NDArray[np.datetime64], moment: np.datetime64) -> npt.NDArray[np.int64]:
    """Return the rows of a known date that is not before a moment."""
    moments = dates.astype("datetime64[s]").astype(np.int64)
    return np.flatnonzero((dates >= moment) & (moments != DEFAULT_DATE_S))


def _split(n: int, test: npt.NDArray[np.int64]) -> Split:
    in_test = np.zeros(n, dtype=np.bool_)
    in_test[test] = True
    return Split(np.flatnonzero(~in_test), np.flatnonzero(in_test))

"""The frozen corpus of a run: arrays and frames, saved as files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import scipy.sparse as sp

from tagsage.corpus.model import articles_to_frame, articles_to_table
from tagsage.errors import TagsageError
from tagsage.files import write_json

_DIGEST_FILE = "snapshot.json"

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Articles and lists as they were at one moment, numbered; never to be changed.

    Two stores that hold the same corpus give the same one. An article's index is its row, a list's
    its place in `lists`. Memberships are unique and sorted by list, then article.
    """

    articles: pd.DataFrame  # as in `Corpus`, sorted by key
    lists: npt.NDArray[np.object_]  # the lists' names, sorted
    article_index: npt.NDArray[np.int32]
    list_index: npt.NDArray[np.int32]

    def incidence(self) -> sp.csr_array[np.float32]:
        """Return the memberships as a matrix [n_articles, n_lists] of 1s."""
        ones = np.ones(len(self.article_index), dtype=np.float32)
        shape = (len(self.articles), len(self.lists))
        return sp.csr_array((ones, (self.article_index, self.list_index)), shape=shape)

    def list_names(self, members: sp.csr_array[np.float32]) -> list[list[str]]:
        """Return the names of some articles' lists, given their rows of :meth:`incidence`."""
        bounds = pairwise(members.indptr.tolist())
        return [[str(name) for name in self.lists[members.indices[a:b]]] for a, b in bounds]

    @cached_property
    def digest(self) -> str:
        """``sha256:…`` of the whole content; the same for equal snapshots, from whatever store."""
        digest = hashlib.sha256()
        table = articles_to_table(self.articles)
        for name in table.schema.names:
            digest.update(f"{name}\n".encode())
            _update(digest, table.column(name).combine_chunks())
        _update(digest, pa.array(self.lists, type=pa.large_string()))
        digest.update(self.article_index.astype("<i4").tobytes())
        digest.update(self.list_index.astype("<i4").tobytes())
        return f"sha256:{digest.hexdigest()}"

    def save(self, folder: Path) -> None:
        """Write articles and lists as Parquet, indices as .npy, the digest as JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(articles_to_table(self.articles), folder / "articles.parquet")
        names = pa.array(self.lists, type=pa.large_string())
        pq.write_table(pa.table({"list": names}), folder / "lists.parquet")
        for name in ("article_index", "list_index"):
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)
        write_json(folder / _DIGEST_FILE, {"digest": self.digest})

    @classmethod
    def load(cls, folder: Path) -> Snapshot:
        """Read a saved snapshot; raises `TagsageError` when it is damaged or not there."""
        try:
            digest = json.loads((folder / _DIGEST_FILE).read_text(encoding="utf-8"))["digest"]
            articles = articles_to_frame(pq.read_table(folder / "articles.parquet"))
            names = pq.read_table(folder / "lists.parquet").column("list")
            snapshot = cls(
                articles=articles,
                lists=names.to_numpy(zero_copy_only=False).astype(object),
                article_index=np.load(folder / "article_index.npy", allow_pickle=False),
                list_index=np.load(folder / "list_index.npy", allow_pickle=False),
            )
        except (OSError, ValueError, KeyError) as error:
            msg = f"The snapshot in {folder} is damaged: {error}; run the ingest stage again."
            raise TagsageError(msg) from error
        # Reading it all again for a digest would take longer than everything else.
        snapshot.__dict__["digest"] = digest
        return snapshot


def assemble(
    articles: pa.Table,
    article_ids: Int64s,
    lists: Sequence[str],
    list_ids: Int64s,
    memberships: tuple[Int64s, Int64s],
) -> Snapshot:
    """Make a snapshot of what a store holds under its own ids; memberships: list, article."""
    by_key = pc.sort_indices(articles.column("key"))
    by_name = np.array(sorted(range(len(lists)), key=lists.__getitem__), dtype=np.int64)
    list_index = places(list_ids[by_name], memberships[0]).astype(np.int32)
    article_index = places(article_ids[by_key.to_numpy()], memberships[1]).astype(np.int32)
    order = np.lexsort((article_index, list_index))
    names = np.empty(len(lists), dtype=object)
    names[:] = [lists[place] for place in by_name.tolist()]
    return Snapshot(
        articles=articles_to_frame(articles.take(by_key)),
        lists=names,
        article_index=article_index[order],
        list_index=list_index[order],
    )


def compare_articles(ours: pa.Table, held: pa.Table) -> tuple[Int64s, npt.NDArray[np.bool_]]:
    """Return where each of our articles is held (-1: nowhere), and whether any field differs."""
    place = pd.Index(held["key"].to_numpy()).get_indexer(pd.Index(ours["key"].to_numpy()))
    place = place.astype(np.int64)
    known = np.flatnonzero(place >= 0)
    ours, held = ours.take(pa.array(known)), held.take(pa.array(place[known]))
    unlike = np.zeros(len(known), dtype=np.bool_)
    for name in ("url", "title", "subtitle", "author", "date", "is_stub"):
        unlike |= pc.not_equal(ours[name], held[name]).to_numpy().astype(np.bool_)
    mine, theirs = ours["tags"].combine_chunks(), held["tags"].combine_chunks()
    lengths = pc.list_value_length(mine).to_numpy()
    unlike |= lengths != pc.list_value_length(theirs).to_numpy()
    # Lists of the same length are compared tag by tag.
    same = np.flatnonzero(~unlike)
    one, other = (tags.take(pa.array(same)).flatten() for tags in (mine, theirs))
    unequal = np.asarray(pc.not_equal(one, other).to_numpy(zero_copy_only=False), dtype=np.bool_)
    unlike[np.repeat(same, lengths[same])[unequal]] = True
    differs = np.zeros(len(place), dtype=np.bool_)
    differs[known] = unlike
    return place, differs


def places(ids: Int64s, wanted: Int64s) -> Int64s:
    """Return the row in `ids` of each wanted id."""
    return pd.Index(ids).get_indexer(pd.Index(wanted)).astype(np.int64)


def _update(digest: Any, array: Any) -> None:
    """Digest an Arrow array's values, independent of slices and chunks."""
    if pa.types.is_large_list(array.type):
        digest.update(np.diff(array.offsets.to_numpy()).astype("<i8"))
        array = array.flatten()
    if pa.types.is_large_string(array.type):
        digest.update(pc.binary_length(array).to_numpy(zero_copy_only=False).astype("<i8"))
        whole = pa.LargeListArray.from_arrays(pa.array([0, len(array)], pa.int64()), array)
        digest.update(pc.binary_join(whole, pa.scalar("", pa.large_string()))[0].as_buffer())
    else:
        plain = array.cast(pa.int64() if pa.types.is_timestamp(array.type) else pa.int8())
        digest.update(np.ascontiguousarray(plain.to_numpy(zero_copy_only=False)))

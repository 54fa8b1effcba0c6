"""The frozen corpus that a run works on: arrays and frames, saved as files."""

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

from tagsage.corpus.fields import UNKNOWN_AUTHOR
from tagsage.corpus.model import articles_to_frame, articles_to_table
from tagsage.errors import TagsageError
from tagsage.files import write_json

_SUMMARY = "snapshot.json"

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Articles and lists as they were at one moment, numbered.

    An article's index is its row; a list's index is its place in `lists`. Two stores that hold the
    same corpus give the same snapshot. Nothing in it may be changed.

    Attributes
    ----------
    articles : pandas.DataFrame
        As in :class:`tagsage.corpus.model.Corpus`, stubs included, sorted by key (by code point),
        with a RangeIndex.
    lists : numpy.ndarray of object, shape [n_lists]
        The lists' names (str), sorted.
    article_index : numpy.ndarray of int32, shape [n_memberships]
        The article of each membership.
    list_index : numpy.ndarray of int32, shape [n_memberships]
        The list of each membership; memberships are unique and sorted by list, then article.
    """

    articles: pd.DataFrame
    lists: npt.NDArray[np.object_]
    article_index: npt.NDArray[np.int32]
    list_index: npt.NDArray[np.int32]

    def incidence(self) -> sp.csr_array[np.float32]:
        """Return the memberships as a matrix.

        Returns
        -------
        scipy.sparse.csr_array of float32, shape [n_articles, n_lists]
            1 where the article is in the list.
        """
        ones = np.ones(len(self.article_index), dtype=np.float32)
        shape = (len(self.articles), len(self.lists))
        return sp.csr_array((ones, (self.article_index, self.list_index)), shape=shape)

    def list_names(self, members: sp.csr_array[np.float32]) -> list[list[str]]:
        """Return the names of the lists that hold some articles, one list of names an article.

        Parameters
        ----------
        members : scipy.sparse.csr_array, shape [m, n_lists]
            The articles' rows of :meth:`incidence`.
        """
        bounds = pairwise(members.indptr.tolist())
        return [[str(name) for name in self.lists[members.indices[a:b]]] for a, b in bounds]

    def authorship(self) -> tuple[npt.NDArray[np.object_], sp.csr_array[np.float32]]:
        """Return who wrote what.

        Returns
        -------
        names : numpy.ndarray of object, shape [n_authors]
            The authors' names (str), sorted. Neither an empty name nor the one that stands for a
            missing author is one.
        authorship : scipy.sparse.csr_array of float32, shape [n_articles, n_authors]
            1 where the author wrote the article; at most one a row.
        """
        author = self.articles["author"]
        articles = np.flatnonzero(~author.isin(["", UNKNOWN_AUTHOR]))
        codes, names = pd.factorize(author.to_numpy(dtype=object)[articles], sort=True)
        ones = np.ones(len(articles), dtype=np.float32)
        shape = (len(self.articles), len(names))
        return names, sp.csr_array((ones, (articles, codes)), shape=shape)

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
        """Write the snapshot: articles and lists as Parquet, indices as .npy, a summary as JSON.

        Parameters
        ----------
        folder : pathlib.Path
            Where to; made when it does not exist. The summary is written last: a folder without it
            holds no snapshot.
        """
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _SUMMARY).unlink(missing_ok=True)
        pq.write_table(articles_to_table(self.articles), folder / "articles.parquet")
        names = pa.array(self.lists, type=pa.large_string())
        pq.write_table(pa.table({"list": names}), folder / "lists.parquet")
        for name in ("article_index", "list_index"):
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)
        summary = {
            "digest": self.digest,
            "articles": len(self.articles),
            "lists": len(self.lists),
            "memberships": len(self.article_index),
        }
        write_json(folder / _SUMMARY, summary)

    @classmethod
    def load(cls, folder: Path) -> Snapshot:
        """Read a snapshot that :meth:`save` wrote.

        Raises
        ------
        TagsageError
            When the folder holds none, or one that is damaged.
        """
        if not (folder / _SUMMARY).is_file():
            raise TagsageError(f"{folder} holds no snapshot; run the ingest stage again.")
        try:
            summary = json.loads((folder / _SUMMARY).read_text(encoding="utf-8"))
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
        # Reading it all again only to digest it would take longer than the rest.
        snapshot.__dict__["digest"] = summary["digest"]
        return snapshot


def assemble(
    articles: pa.Table,
    article_ids: Int64s,
    lists: Sequence[str],
    list_ids: Int64s,
    memberships: tuple[Int64s, Int64s],
) -> Snapshot:
    """Make a snapshot of what a store holds under ids of its own, in whatever order.

    Parameters
    ----------
    articles : pyarrow.Table
        The articles, of :data:`tagsage.corpus.model.ARTICLE_SCHEMA`.
    article_ids : numpy.ndarray of int64, shape [n_articles]
        Their ids.
    lists : sequence of str, length n_lists
        The lists' names.
    list_ids : numpy.ndarray of int64, shape [n_lists]
        Their ids.
    memberships : pair of numpy.ndarray of int64, each of shape [n_memberships]
        The id of the list and of the article of each.

    Returns
    -------
    Snapshot
        Sorted as it says.
    """
    by_key = pc.sort_indices(articles.column("key"))
    by_name = np.array(sorted(range(len(lists)), key=lists.__getitem__), dtype=np.int64)
    list_index = _places(list_ids[by_name], memberships[0])
    article_index = _places(article_ids[by_key.to_numpy()], memberships[1])
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
    """Compare articles that are to be stored with those that a store holds.

    Parameters
    ----------
    ours, held : pyarrow.Table
        Of :data:`tagsage.corpus.model.ARTICLE_SCHEMA`, keys unique.

    Returns
    -------
    (int64 array, bool array), each of shape [len(ours)]
        Where each article is held (-1: nowhere), and whether it is held with other fields.
    """
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


def _places(ids: Int64s, wanted: Int64s) -> npt.NDArray[np.int32]:
    """Return where each wanted id stands in `ids`."""
    highest = int(ids.max(initial=0))
    if highest <= 8 * len(ids) + 1024:
        places = np.full(highest + 1, -1, dtype=np.int32)
        places[ids] = np.arange(len(ids), dtype=np.int32)
        return places[wanted]
    # A table as long as the highest id would be mostly empty.
    order = np.argsort(ids)
    return order[np.searchsorted(ids[order], wanted)].astype(np.int32)


def _update(digest: Any, array: Any) -> None:
    """Digest an Arrow array's values, however it lies in memory (slices, chunks)."""
    if pa.types.is_large_list(array.type):
        digest.update(np.diff(array.offsets.to_numpy()).astype("<i8"))
        array = array.flatten()
    if pa.types.is_large_string(array.type):
        as_bytes = pa.concat_arrays([array, pa.array([], type=pa.large_string())])
        _, offsets, data = as_bytes.buffers()
        bounds = np.frombuffer(offsets, dtype="<i8") if offsets else np.zeros(1, dtype="<i8")
        bounds = bounds[as_bytes.offset : as_bytes.offset + len(as_bytes) + 1]
        digest.update(np.diff(bounds))
        if data is not None:
            digest.update(memoryview(data)[bounds[0] : bounds[-1]])
    else:
        plain = array.cast(pa.int64() if pa.types.is_timestamp(array.type) else pa.int8())
        digest.update(np.ascontiguousarray(plain.to_numpy(zero_copy_only=False)))

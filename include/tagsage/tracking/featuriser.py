"""From a new article to the features its tagger was trained on, without the corpus.

An article that was not there when the graph was built has a text and perhaps the names of lists.
Its feature blocks are made of them alone:

- ``text``: its embedding;
- ``lists``: the weighted mean of its lists' means, hop by hop, its own vector counted among them,
  as :func:`tagsage.graph.lists.propagate_lists` would give it. In no known list: zeros, as for
  isolated articles;
- ``memberships``: its lists' factors, as for every article;
- ``labels``: what its lists say of tags, as :func:`tagsage.graph.labels.propagate_labels` would
  give it, with the labels of all articles that the tagger was fitted on;
- ``authors``: what its author's articles say of tags, in the same way;
- ``words``, ``list_ids``, ``author_ids``: as :mod:`tagsage.features` makes them;
- ``graphsage``: what the GraphSAGE model makes of its own vector, without neighbours;
- ``fastrp``: its own vector, projected as in training, without neighbours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from tagsage.errors import TagsageError
from tagsage.features import BLOCKS, Articles, Block, load_block
from tagsage.graph.csr import FloatArray, make_csr
from tagsage.graph.fastrp import embed_alone
from tagsage.graph.graphsage.infer import infer_graphsage
from tagsage.graph.graphsage.model import GraphSageModel
from tagsage.learn.features import FeatureMatrix
from tagsage.tracking.companions import Companions
from tagsage.tracking.fastrp_projection import FastRpProjection
from tagsage.tracking.inputs import Inputs, members_of
from tagsage.tracking.list_blocks import (
    NamedListFactors,
    NamedListLabels,
    NamedListVectors,
)
from tagsage.vectors.base import Embedder
from tagsage.vectors.lsa import LsaEmbedder

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr

FEATURISER = "featuriser.json"
EMBEDDER = "embedder"
GRAPHSAGE = "graphsage"
FASTRP = "fastrp"
LISTS = "lists"
MEMBERSHIPS = "memberships"
LABELS = "labels"
AUTHORS = "authors"
COMPANIONS = "companions"
LINKED = "linked"
SPARSE = "sparse"
# Blocks that are made of an article's vector.
OF_VECTORS = ("text", GRAPHSAGE, FASTRP, LISTS)


class EmbedderAwayError(TagsageError):
    """The embedder gave no vectors; the articles are not to blame."""


@dataclass(frozen=True)
class Featuriser:
    """Turns new articles into the feature blocks of a feature set.

    Attributes
    ----------
    blocks : tuple of str
        The blocks of the feature set in order, of `BLOCKS`.
    dimensions : int
        Numbers in a text vector.
    embedder : Embedder or None
        None: vectors were given with the corpus, and must come with new articles too.
    graphsage : GraphSageModel or None
        None where it is not needed or was not trained (no two articles shared a list): zeros.
    graphsage_dimensions : int
        Numbers in a GraphSAGE embedding.
    fastrp : FastRpProjection or None
        None where it is not needed.
    lists : NamedListVectors or None
        None where they are not needed.
    memberships : NamedListFactors or None
        None where they are not needed.
    labels : NamedListLabels or None
        None where they are not needed.
    authors : NamedListLabels or None
        An author is a list of the author's articles; None where they are not needed.
    companions : Companions or None
        Which lists the corpus' articles are in; None where lists do not matter, and in champions
        of before that was kept.
    sparse : mapping of str to Block
        The blocks with a column per word, list or author.
    corpus_digest : str
        Digest of the corpus that the candidate was trained on.
    graph : mapping of str to str
        Names of the artifacts of the blocks that only that corpus' graph has, and of ``linked``;
        empty where the feature set has no such block.
    """

    blocks: tuple[str, ...]
    dimensions: int
    embedder: Embedder | None
    graphsage: GraphSageModel | None
    graphsage_dimensions: int
    fastrp: FastRpProjection | None
    lists: NamedListVectors | None
    memberships: NamedListFactors | None = None
    labels: NamedListLabels | None = None
    authors: NamedListLabels | None = None
    companions: Companions | None = None
    sparse: Mapping[str, Block] = field(default_factory=dict)
    corpus_digest: str = ""
    graph: Mapping[str, str] = field(default_factory=dict)

    def inputs(
        self,
        titles: Sequence[str],
        subtitles: Sequence[str],
        lists: Sequence[Sequence[str]],
        vectors: FloatArray | None = None,
        authors: Sequence[str] | None = None,
        articles: Sequence[Sequence[str]] | None = None,
        *,
        in_corpus: npt.NDArray[np.bool_] | None = None,
        given: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> Inputs:
        """Return what the features of new articles are made of.

        Parameters
        ----------
        titles, subtitles : sequence of str, length n
            Their texts; may be empty.
        lists : sequence of sequences of str, length n
            The names of their lists.
        vectors : float32 array, shape [n, dimensions], optional
            Their vectors, where they are known already; needed when there is no embedder.
        authors : sequence of str, length n, optional
            The names of their authors; may be empty.
        articles : sequence of sequences of str, length n, optional
            URLs or keys of articles of the corpus that are in lists with each; see
            :meth:`Companions.lists_of`.
        in_corpus : bool array, shape [n], optional
            Which are articles of the corpus that the lists are known from, as :meth:`counts` tells:
            their own vectors are part of the lists' means already. By default none is.
        given : mapping of str to array, optional
            Blocks that are not made; see :class:`Inputs`.

        Raises
        ------
        TagsageError
            When vectors are needed and not given, or have another length.
        """
        text = self._vectors(titles, subtitles, vectors)
        # No name stands for nobody: it is in no index.
        authors = authors or [""] * len(text)
        names = [[name] for name in authors]
        further = None
        if articles is not None and self.companions is not None:
            further = [self.companions.lists_of(some) if some else () for some in articles]
        return Inputs(
            text,
            members_of(self.list_index, lists, further),
            members_of(self.authors.index if self.authors else {}, names),
            in_corpus=in_corpus,
            texts=texts_of(titles, subtitles) if self.sparse else (),
            author_names=np.array(authors, dtype=object),
            given=given or {},
        )

    def blocks_of(self, inputs: Inputs) -> tuple[FloatArray | Csr, ...]:
        """Return the feature blocks of articles, n rows each.

        They are as the candidate was trained on: ``lists`` gives one array a hop, ``labels`` and
        ``authors`` two each.
        """
        text, members = inputs.text, inputs.members
        result: list[FloatArray | Csr] = []
        articles = Articles(inputs.texts, inputs.author_names, members, self.list_names)
        for block in self.blocks:
            if block in inputs.given:
                result.append(inputs.given[block])
            elif block in self.sparse:
                result.append(self.sparse[block].transform(articles))
            elif block == "text":
                result.append(text)
            elif block == "graphsage":
                result.append(self._graphsage(text))
            elif block == "fastrp" and self.fastrp is not None:
                result.append(embed_alone(text, self.fastrp.matrix, self.fastrp.config))
            elif block == "lists" and self.lists is not None:
                result += self.lists.features(
                    members, text, inside=inputs.in_corpus, counted=inputs.counted
                )
            elif block == "memberships" and self.memberships is not None:
                result.append(self.memberships.features(members))
            elif block == "labels" and self.labels is not None:
                result += self.labels.features(members, inputs.own)
            elif block == "authors" and self.authors is not None:
                result += self.authors.features(inputs.authors, inputs.own)
        return tuple(result)

    @cached_property
    def list_index(self) -> dict[str, int]:
        """The number of each list's name; empty when lists do not matter."""
        of_lists = [part for part in (self.lists, self.memberships, self.labels) if part]
        if not of_lists and "list_ids" in self.sparse:
            return {name: place for place, name in enumerate(self.sparse["list_ids"].columns)}
        return of_lists[0].index if of_lists else {}

    @cached_property
    def list_names(self) -> npt.NDArray[np.object_]:
        """The name of each list's number, object array of str."""
        return np.array(list(self.list_index), dtype=object)

    @property
    def needs_vectors(self) -> bool:
        """Whether a block is made of the articles' vectors."""
        return not set(OF_VECTORS).isdisjoint(self.blocks)

    def counts(self, keys: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return which articles, by their keys, are counted in what is known of the lists.

        An article that came since, or was in no list then, is not.
        """
        if self.companions is None:
            return np.zeros(len(keys), dtype=np.bool_)
        return self.companions.holds(keys)

    def matrix(
        self,
        titles: Sequence[str],
        subtitles: Sequence[str],
        lists: Sequence[Sequence[str]],
        vectors: FloatArray | None = None,
        authors: Sequence[str] | None = None,
        articles: Sequence[Sequence[str]] | None = None,
        *,
        in_corpus: npt.NDArray[np.bool_] | None = None,
        given: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> FeatureMatrix:
        """Return what a candidate reads of new articles; arguments as for :meth:`inputs`.

        An article is linked when one of its lists is known. (For GraphSAGE and FastRP none is,
        unless their blocks are given: new articles have no neighbours there.)
        """
        inputs = self.inputs(
            titles, subtitles, lists, vectors, authors, articles, in_corpus=in_corpus, given=given
        )
        return self.matrix_of(inputs)

    def matrix_of(self, inputs: Inputs) -> FeatureMatrix:
        """Return what a candidate reads of articles; see :meth:`matrix`."""
        widths = {LABELS: 2, AUTHORS: 2, LISTS: len(self.lists.hops) if self.lists else 0}
        kinds = [block for block in self.blocks for _ in range(widths.get(block, 1))]
        linked = inputs.given.get(LINKED, np.diff(inputs.members.indptr) > 0)
        return FeatureMatrix(self.blocks_of(inputs), kinds=kinds, linked=linked)

    def text_vectors(self, texts: Sequence[str]) -> FloatArray:
        """Embed texts with the model's own embedder, float32 [n, dimensions].

        Raises
        ------
        EmbedderAwayError
            When its embedder is away or refuses us.
        TagsageError
            When the model was trained on given vectors.
        """
        if self.embedder is None:
            raise TagsageError(
                "This tagger was trained on given vectors and cannot embed a text; give vectors."
            )
        try:
            return self.embedder.embed(texts)
        except TagsageError as error:
            raise EmbedderAwayError(str(error)) from error

    def _vectors(
        self, titles: Sequence[str], subtitles: Sequence[str], vectors: FloatArray | None
    ) -> FloatArray:
        if not self.needs_vectors:
            return np.zeros((len(titles), 0), dtype=np.float32)
        if self.embedder is not None and vectors is None:
            return self.text_vectors(texts_of(titles, subtitles))
        if vectors is None or vectors.shape != (len(titles), self.dimensions):
            got = "none" if vectors is None else f"an array of shape {vectors.shape}"
            msg = (
                "This tagger was trained on given vectors, so every article needs one of "
                f"{self.dimensions} numbers in the column vector; there is {got}."
            )
            raise TagsageError(msg)
        return np.asarray(vectors, dtype=np.float32)

    def _graphsage(self, text: FloatArray) -> FloatArray:
        if self.graphsage is None or not len(text):
            return np.zeros((len(text), self.graphsage_dimensions), dtype=np.float32)
        n = len(text)
        no_neighbours = make_csr(
            np.zeros(0, np.float32), np.zeros(0, np.int32), np.zeros(n + 1, np.int64), (n, n)
        )
        seed = self.graphsage.config.seed
        return infer_graphsage(self.graphsage, no_neighbours, text, seed=seed)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :func:`write_featuriser` wrote; list means are memory-mapped."""
        about: dict[str, Any] = json.loads((folder / FEATURISER).read_text(encoding="utf-8"))
        return cls(
            blocks=tuple(about["blocks"]),
            dimensions=about["dimensions"],
            embedder=_load_embedder(folder / EMBEDDER, about["embedder"]),
            graphsage=GraphSageModel.load(folder / GRAPHSAGE) if about["graphsage"] else None,
            graphsage_dimensions=about["graphsage_dimensions"],
            # Champions of nights before there was FastRP say nothing of it.
            fastrp=FastRpProjection.load(folder / FASTRP) if about.get("fastrp") else None,
            lists=NamedListVectors.load(
                folder / LISTS, about["hops"], about.get("topic_sharpness", 0.0)
            )
            if about["hops"]
            else None,
            memberships=NamedListFactors.load(folder / MEMBERSHIPS)
            if MEMBERSHIPS in about["blocks"]
            else None,
            labels=NamedListLabels.load(folder / LABELS) if LABELS in about["blocks"] else None,
            authors=NamedListLabels.load(folder / AUTHORS) if AUTHORS in about["blocks"] else None,
            companions=Companions.load(folder / COMPANIONS) if about.get("companions") else None,
            sparse={
                block: load_block(block, folder / SPARSE / block)
                for block in about["blocks"]
                if block in BLOCKS
            },
            corpus_digest=about["corpus_digest"],
            graph=about["graph"],
        )


def texts_of(titles: Sequence[str], subtitles: Sequence[str]) -> list[str]:
    """Return what is embedded of new articles, as for those of the corpus."""
    # Frames as article_texts takes them are a third of the time of a single request.
    return [
        " ".join(part.strip() for part in parts if isinstance(part, str)).strip()
        for parts in zip(titles, subtitles, strict=True)
    ]


def embedder_kind(folder: Path) -> str:
    """Return what embeds new articles of a folder that :func:`write_featuriser` wrote.

    Returns
    -------
    str
        ``lsa``, ``openai``, or nothing when vectors come with the articles.
    """
    about = json.loads((folder / FEATURISER).read_text(encoding="utf-8"))
    return str(about["embedder"])


def needs_given_vectors(folder: Path) -> bool:
    """Return whether new articles of such a folder need a vector with them."""
    about = json.loads((folder / FEATURISER).read_text(encoding="utf-8"))
    return not about["embedder"] and not set(OF_VECTORS).isdisjoint(about["blocks"])


def says_sealed(folder: Path) -> bool:
    """Return whether a folder was written with digests of its files."""
    about = json.loads((folder / FEATURISER).read_text(encoding="utf-8"))
    return bool(about.get("sealed"))


def _load_embedder(folder: Path, kind: str) -> Embedder | None:
    """Read a saved embedder; the packages that only one kind needs are imported only for it."""
    if kind == "openai":
        from tagsage.vectors.openai.embedder import OpenAiEmbedder

        return OpenAiEmbedder.load(folder)
    return LsaEmbedder.load(folder) if kind else None

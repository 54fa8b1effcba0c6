"""Fast random projection (FastRP): an article's vector and its neighbours', projected, mixed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tagsage.errors import TagsageError
from tagsage.graph.arrays import check_row_count, fixed_product, row_slices, scratch_array
from tagsage.graph.csr import make_csr, row_blocks
from tagsage.graph.fastrp_random import first_number, node_streams, single_stream
from tagsage.progress import track

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr, FloatArray

# One entry in three of the random matrix is not 0, half of them negative (Li et al.'s very sparse
# projections); the entries are then scaled to keep lengths.
SPARSITY = 3
ENTRY_PROBABILITY = 1 / (2 * SPARSITY)
# A norm below this counts as 0, as in GDS.
NORM_EPSILON = np.float32(10) / np.finfo(np.float32).max
# Numbers that a block of the result may hold, its neighbours counted: 64 MB of float32.
BLOCK_NUMBERS = 1 << 24


@dataclass(frozen=True)
class FastRpConfig:
    """How articles are embedded; names and meaning follow ``fastRP`` of Neo4j GDS.

    Attributes
    ----------
    dimensions : int
        Numbers in an embedding.
    iteration_weights : tuple of float
        Weight of the 1st, 2nd, ... average over neighbours.
    self_influence : float
        Weight of the article's own projected vector, at least 0; above 0, an article without
        neighbours is not embedded as zeros.
    normalization_strength : float
        Power of the degree by which a neighbour's random part is scaled.
    property_ratio : float
        Share of the dimensions that the articles' vectors fill, in [0, 1]; the rest is random by
        article.
    seed : int
        Seed of the projection.
    """

    dimensions: int = 512
    iteration_weights: tuple[float, ...] = (1.0, 1.0)
    self_influence: float = 1.0
    normalization_strength: float = 0.0
    property_ratio: float = 1.0
    seed: int = 42

    def __post_init__(self) -> None:
        if self.dimensions < 1:
            msg = f"fastrp: dimensions must be at least 1, not {self.dimensions}."
            raise TagsageError(msg)
        if not 0 <= self.property_ratio <= 1:
            msg = f"fastrp: property_ratio must be from 0 to 1, not {self.property_ratio}."
            raise TagsageError(msg)
        if not (self.self_influence >= 0 and math.isfinite(self.self_influence)):
            msg = f"fastrp: self_influence must be at least 0, not {self.self_influence}."
            raise TagsageError(msg)
        if not all(math.isfinite(weight) for weight in self.iteration_weights):
            msg = f"fastrp: iteration_weights must be numbers, not {self.iteration_weights}."
            raise TagsageError(msg)
        if not math.isfinite(self.normalization_strength):
            msg = (
                "fastrp: normalization_strength must be a number, "
                f"not {self.normalization_strength}."
            )
            raise TagsageError(msg)
        if not self.iteration_weights and not self.self_influence:
            raise TagsageError(
                "fastrp: iteration_weights must not be empty when self_influence is 0."
            )

    @property
    def property_dimensions(self) -> int:
        """How many of the dimensions, the last ones, the articles' vectors fill."""
        return int(self.dimensions * self.property_ratio)


def fastrp(
    graph: Csr,
    features: npt.NDArray[np.floating],
    config: FastRpConfig,
    *,
    node_ids: npt.NDArray[np.integer] | None = None,
    out: FloatArray | None = None,
) -> FloatArray:
    """Embed every node by the projected vectors of the nodes around it.

    With A the weighted graph, D the nodes' numbers of neighbours, R the initial vectors and w the
    iteration weights::

        R_v  = [degree(v) ** normalization_strength * random(v), features(v) @ projection]
        N_0  = R,   N_i = D^-1 A N_(i-1)
        out_v = self_influence * R_v / |R_v|  +  sum over i of w_i * N_i,v / |N_i,v|

    These are the numbers of ``gds.fastRP`` of Neo4j GDS 2.13 with ``featureProperties`` and
    ``relationshipWeightProperty``, to the rounding of float32 (sums run in another order). GDS
    draws the random part by a node's id in the database and the projection by the seed alone: with
    a `property_ratio` of 1 the result does not depend on ids.

    The defaults were chosen by the micro/macro-F1 of the `mlp` on text and FastRP, on validation
    parts of training parts. Mean of two splits, on 12,986 scientific articles in 7,671 lists and on
    the bundled corpus: text alone .393/.372 and .635/.391; with 256 dimensions .445/.426 and
    .657/.436; with 512 .454/.436 and .659/.426; with 512 and one average instead of two .451/.433
    and .659/.429. One split of the former, 256 dimensions: .437/.419; half of them random by
    article .440/.424, but on FastRP alone .414/.391 instead of .439/.425; neighbours unweighted
    .426/.413. Without `self_influence` FastRP alone falls to .373/.333.

    Parameters
    ----------
    graph : csr_array, shape [n, n]
        The weighted graph, directions followed: row v holds the neighbours that v gathers from. It
        may be memory-mapped. Ones as weights give the numbers of an unweighted graph.
    features : float array, shape [n, f]
        One vector a node; it may be memory-mapped. Only read when `property_ratio` is above 0.
    config : FastRpConfig
        The settings.
    node_ids : int array, shape [n], optional
        What the random part is drawn by; the index by default. To meet GDS: ids in the database.
    out : float32 array, shape [n, dimensions], optional
        Takes the result, whatever it holds; it may be a writable memory-mapped file.

    Returns
    -------
    float32 array, shape [n, dimensions]
        `out`, or a new array.

    Raises
    ------
    TagsageError
        When features and graph disagree on the number of nodes.

    References
    ----------
    .. [1] H. Chen, S. F. Sultan, Y. Tian, M. Chen, S. Skiena: Fast and accurate network embeddings
       via very sparse random projection. CIKM 2019.
    .. [2] Neo4j Graph Data Science manual, "Fast Random Projection",
       https://neo4j.com/docs/graph-data-science/2.13/machine-learning/node-embeddings/fastrp/
    """
    n = graph.shape[0]
    result = np.empty((n, config.dimensions), dtype=np.float32) if out is None else out
    levels = fastrp_levels(graph, features, config, node_ids=node_ids)
    for start, stop in track(_blocks(graph, config), "fastrp: blocks of articles"):
        result[start:stop] = mix_levels(
            levels[0][start:stop], _graph_rows(graph, start, stop), levels, config
        )
    return result


def fastrp_levels(
    graph: Csr,
    features: npt.NDArray[np.floating],
    config: FastRpConfig,
    *,
    node_ids: npt.NDArray[np.integer] | None = None,
) -> list[FloatArray]:
    """Return what nodes give to their neighbours in each iteration: N_0, N_1 and so on.

    Parameters
    ----------
    graph, features, config, node_ids
        As for :func:`fastrp`.

    Returns
    -------
    list of float32 arrays, shape [n, dimensions]
        One per iteration weight, and at least N_0.
    """
    n = graph.shape[0]
    check_row_count(features, n)
    degrees = np.diff(graph.indptr)
    ids = np.arange(n, dtype=np.int64) if node_ids is None else node_ids.astype(np.int64)
    projection = projection_matrix(features.shape[1], config)
    level = scratch_array(n, config.dimensions)
    for rows in row_slices(n):
        level[rows] = initial_vectors(features[rows], projection, ids[rows], degrees[rows], config)
    levels = [level]
    for number in range(1, len(config.iteration_weights)):
        level = scratch_array(n, config.dimensions)
        for start, stop in track(_blocks(graph, config), f"fastrp iteration {number}"):
            level[start:stop] = _neighbour_means(_graph_rows(graph, start, stop), levels[-1])
        levels.append(level)
    return levels


def mix_levels(
    initial: FloatArray,
    rows: Csr,
    levels: Sequence[FloatArray],
    config: FastRpConfig,
    *,
    later: npt.NDArray[np.bool_] | None = None,
) -> FloatArray:
    """Embed some nodes, each by itself.

    Parameters
    ----------
    initial : float32 array, shape [m, dimensions]
        Their own initial vectors; see :func:`initial_vectors`.
    rows : csr_array, shape [m, n]
        Their neighbours, weighted.
    levels : sequence of float32 arrays, shape [n, dimensions]
        From :func:`fastrp_levels`.
    config : FastRpConfig
        The settings.
    later : bool array, shape [m], optional
        Which of them have no random part, having no id. It says nothing of an article, but its
        expected length is counted, so that the other part has the size that it has elsewhere.

    Returns
    -------
    float32 array, shape [m, dimensions]
    """
    norms = _norms(initial)
    if later is not None:
        # An entry is ±sqrt(3 / dimensions) once in three: its mean square is 1 / dimensions.
        expected = 1 - config.property_dimensions / config.dimensions
        norms = np.sqrt(norms**2 + np.where(later, np.float32(expected), 0)).astype(np.float32)
    lengths = np.where(norms < NORM_EPSILON, 1, norms).astype(np.float32, copy=False)
    result: FloatArray = (np.float32(config.self_influence) / lengths)[:, None] * initial
    for weight, level in zip(config.iteration_weights, levels, strict=False):
        block = _neighbour_means(rows, level)
        with np.errstate(divide="ignore", over="ignore"):
            inverse = np.float32(1) / _norms(block)
        inverse[~np.isfinite(inverse)] = 1
        result += (inverse * np.float32(weight))[:, None] * block
    return result


def projection_matrix(inputs: int, config: FastRpConfig) -> FloatArray:
    """Draw the random matrix that projects the articles' vectors; it depends on the seed alone.

    Parameters
    ----------
    inputs : int
        Numbers in a vector.
    config : FastRpConfig
        The settings.

    Returns
    -------
    float32 array, shape [inputs, property_dimensions]
        Entries 0 or ±sqrt(3 / dimensions).
    """
    columns = config.property_dimensions
    numbers = single_stream(first_number(config.seed), columns * inputs)
    value = np.sqrt(np.float32(SPARSITY)) / np.sqrt(np.float32(config.dimensions))
    entries: FloatArray = _signs(numbers).reshape(columns, inputs).T * value
    return np.ascontiguousarray(entries)


def initial_vectors(
    features: npt.NDArray[np.floating],
    projection: FloatArray,
    ids: npt.NDArray[np.int64],
    degrees: npt.NDArray[np.integer],
    config: FastRpConfig,
) -> FloatArray:
    """Return the random part and the projected vector of some nodes side by side.

    Parameters
    ----------
    features : float array, shape [m, f]
        Their vectors.
    projection : float32 array, shape [f, property_dimensions]
        See :func:`projection_matrix`.
    ids : int64 array, shape [m]
        What the random part is drawn by; it is 0 for an id below 0.
    degrees : int array, shape [m]
        How many neighbours they have.
    config : FastRpConfig
        The settings.
    """
    random_part = config.dimensions - config.property_dimensions
    block = np.zeros((len(ids), config.dimensions), dtype=np.float32)
    if random_part:
        strength = float(np.float32(config.normalization_strength))
        scale = np.maximum(degrees, 1).astype(np.float64) ** strength
        value = scale.astype(np.float32) * np.sqrt(np.float32(SPARSITY))
        value /= np.sqrt(np.float32(config.dimensions))
        streams = node_streams(first_number(config.seed), np.maximum(ids, 0), random_part)
        for column, numbers in enumerate(streams):
            block[:, column] = _signs(numbers) * value * (ids >= 0)
    if projection.size:
        block[:, random_part:] = fixed_product(features, projection)
    return block


def _signs(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.int8]:
    """Return 1 for a number in the first sixth of [0, 1), -1 in the second, 0 above."""
    positive = numbers < ENTRY_PROBABILITY
    negative = ~positive & (numbers < ENTRY_PROBABILITY * 2)
    return positive.astype(np.int8) - negative.astype(np.int8)


def _blocks(graph: Csr, config: FastRpConfig) -> list[tuple[int, int]]:
    return list(row_blocks(np.diff(graph.indptr) + config.dimensions, BLOCK_NUMBERS))


def _graph_rows(graph: Csr, start: int, stop: int) -> Csr:
    """Return some rows of a graph without copying its entries."""
    first, last = int(graph.indptr[start]), int(graph.indptr[stop])
    indptr = graph.indptr[start : stop + 1] - graph.indptr[start]
    shape = (stop - start, graph.shape[1])
    return make_csr(graph.data[first:last], graph.indices[first:last], indptr, shape)


def _neighbour_means(rows: Csr, values: FloatArray) -> FloatArray:
    """Return the weighted sum of the neighbours' rows over the number of neighbours."""
    means: FloatArray = rows @ values
    degrees = np.maximum(np.diff(rows.indptr), 1).astype(np.float32)
    means *= (np.float32(1) / degrees)[:, None]
    return means


def _norms(block: FloatArray) -> FloatArray:
    norms: FloatArray = np.linalg.norm(block, axis=1).astype(np.float32, copy=False)
    return norms

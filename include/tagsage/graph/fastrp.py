"""Fast random projection (FastRP): an article's vector and its neighbours', projected and mixed.

With A the weighted graph, D the nodes' numbers of neighbours, X the vectors and P a sparse random
matrix::

    N_0 = X P,   N_1 = D^-1 A N_0,   N_2 = D^-1 A N_1
    out_v = N_0,v / |N_0,v| + N_1,v / |N_1,v| + N_2,v / |N_2,v|

This is ``gds.fastRP`` of Neo4j GDS 2.13 [2]_ with ``featureProperties``, ``propertyRatio`` 1,
``nodeSelfInfluence`` 1 and ``iterationWeights`` [1, 1], weighted by similarity; P has the same
distribution, from another generator. An embedding is a function of the article's vector and its
neighbours, because nothing is drawn per node.

.. [1] H. Chen, S. F. Sultan, Y. Tian, M. Chen, S. Skiena: Fast and accurate network embeddings via
   very sparse random projection. CIKM 2019.
.. [2] https://neo4j.com/docs/graph-data-science/2.13/machine-learning/node-embeddings/fastrp/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tagsage.graph.arrays import fixed_product

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr, FloatArray

AVERAGES = 2
# One entry in three of the random matrix is not 0, half of them negative.
SPARSITY = 3


def fastrp_levels(
    graph: Csr, vectors: npt.NDArray[np.floating], projection: FloatArray
) -> list[FloatArray]:
    """Return what nodes give to their neighbours: N_0, N_1; row v has those v gathers from."""
    levels: list[FloatArray] = [fixed_product(vectors, projection)]
    for _ in range(AVERAGES - 1):
        levels.append(neighbour_means(graph, levels[-1]))
    return levels


def projection_matrix(inputs: int, dimensions: int, seed: int) -> FloatArray:
    """Draw P, [inputs, dimensions], with entries 0 and ±sqrt(3 / dimensions)."""
    numbers = np.random.default_rng([seed, 0x4652]).random((inputs, dimensions))
    signs = (numbers < 1 / SPARSITY).astype(np.float32)
    signs[numbers < 1 / (2 * SPARSITY)] = -1
    signs *= np.sqrt(np.float32(SPARSITY / dimensions))
    return signs


def neighbour_means(rows: Csr, values: FloatArray) -> FloatArray:
    """Return the weighted sum of the neighbours' values over the number of neighbours."""
    means: FloatArray = rows @ values
    degrees = np.maximum(np.diff(rows.indptr), 1).astype(np.float32)
    means *= (np.float32(1) / degrees)[:, None]
    return means


def mix_levels(own: FloatArray, rows: Csr, levels: Sequence[FloatArray]) -> FloatArray:
    """Embed m nodes, each independently of the others, from what :func:`fastrp_levels` gives.

    `own` [m, dimensions] are their projected vectors, `rows` [m, n] their weighted neighbours.
    """
    result = _unit_rows(own)
    for level in levels:
        result += _unit_rows(neighbour_means(rows, level))
    return result


def _unit_rows(rows: FloatArray) -> FloatArray:
    lengths: FloatArray = np.linalg.norm(rows, axis=1, keepdims=True).astype(np.float32)
    lengths[lengths == 0] = 1
    scaled: FloatArray = rows / lengths
    return scaled

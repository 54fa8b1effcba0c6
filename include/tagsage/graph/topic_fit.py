"""How well an article fits the topic of a list that holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tagsage.graph.csr import FloatArray

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr

# Numbers of one block of memberships: 64 MB in float32, and a few times that on the way.
BLOCK_NUMBERS = 1 << 24


def topic_fit(
    members: Csr,
    vectors: npt.NDArray[np.floating],
    means: npt.NDArray[np.floating],
    counts: FloatArray,
    sharpness: float,
    *,
    inside: bool | npt.NDArray[np.bool_],
    counted: npt.NDArray[np.floating] | None = None,
) -> FloatArray:
    """Weigh every membership by how near the article's text is to the list's topic.

    A list's topic z is the mean vector of its other articles, and with x the article's own vector
    the membership weighs::

        exp(sharpness * cos(x, z))

    so that with 0 all lists of an article count alike, and the more the larger it is those count
    that are about what the article is about: attention of an article over its lists, with the
    cosine for a score [1]_. Where nothing is known of the article, or of the list without it, the
    cosine counts as 0.

    By default the sharpness is 0: on a validation part of the training part of 12,986 scientific
    articles, 0, 1, 3 and 8 gave the `mlp` on text and lists a micro/macro-F1 of .465/.448,
    .465/.447, .463/.441 and .454/.437, mean of two seeds.

    Parameters
    ----------
    members : csr_array, shape [m, n_lists]
        Which article is in which list.
    vectors : float array, shape [m, d]
        The articles' own vectors; they may be memory-mapped.
    means : float array, shape [n_lists, d]
        The mean of the known vectors of each list's articles.
    counts : float array, shape [n_lists]
        Of how many articles each mean is.
    sharpness : float
        At least 0.
    inside : bool, or bool array of shape [m]
        Whether the articles, or which, are among those that the means are of: they are taken out.
    counted : float array, shape [m, d], optional
        What the means hold of the articles, when it is not `vectors`: their text was changed since.

    Returns
    -------
    float32 array, shape [memberships]
        In the order of ``members.indices``.

    References
    ----------
    .. [1] D. Bahdanau, K. Cho, Y. Bengio: Neural machine translation by jointly learning to align
       and translate. ICLR 2015. For hypergraphs: S. Bai, F. Zhang, P. Torr: Hypergraph convolution
       and hypergraph attention. Pattern Recognition 2021.
    """
    fit = np.empty(len(members.indices), dtype=np.float32)
    rows = np.repeat(np.arange(members.shape[0]), np.diff(members.indptr))
    step = max(1, BLOCK_NUMBERS // max(vectors.shape[1], 1))
    for start in range(0, len(fit), step):
        block = slice(start, start + step)
        lists = members.indices[block]
        own = np.asarray(vectors[rows[block]], dtype=np.float32)
        topic = np.asarray(means[lists], dtype=np.float32)
        taken_out = np.broadcast_to(inside, members.shape[0])[rows[block]]
        if taken_out.any():
            known = np.asarray(counts[lists], dtype=np.float32)
            # Only articles with a vector are in a mean; taking a zero vector out changes nothing.
            held = own if counted is None else np.asarray(counted[rows[block]], np.float32)
            topic *= np.where(taken_out, known, np.float32(1))[:, None]
            topic -= held * taken_out[:, None]
            topic[taken_out & (known <= 1)] = 0
        dot = np.einsum("ij,ij->i", own, topic)
        norms = np.linalg.norm(own, axis=1) * np.linalg.norm(topic, axis=1)
        cosine = np.divide(dot, norms, out=np.zeros_like(dot), where=norms > 0)
        fit[block] = np.exp(sharpness * cosine)
    return fit

"""The tags of the other articles by an author."""

from __future__ import annotations

import numpy as np

from tagsage.features import Articles, KnownArticles
from tests.features.corpora import articles_in, features, fit

AUTHORS = ["Ann", "Ann", "Ann", "Bo", "", "Cy"]
ARTICLES = articles_in(np.zeros((6, 0)), authors=AUTHORS)
ROWS = np.array([0, 1, 3, 4])
TAGS = np.array([[1, 0], [1, 1], [0, 1], [0, 0]], dtype=bool)


def shares_of(articles: Articles, prior_weight: float) -> tuple[np.ndarray, np.ndarray]:
    known = KnownArticles.of(ARTICLES, ROWS, TAGS)
    block = fit("authors", ARTICLES, known, authors_prior_weight=prior_weight)
    shares, support = features(block, known.mark(articles))
    return shares, support


def test_six_articles_have_the_shares_of_their_authors_worked_out_by_hand() -> None:
    shares, support = shares_of(ARTICLES, 1)
    expected = [
        # Ann without 0 has 1; the overall shares without 0 are 1/3 and 2/3.
        [(1 + 1 / 3) / 2, (1 + 2 / 3) / 2],
        [(1 + 1 / 3) / 2, (0 + 1 / 3) / 2],
        # Article 2 is not tagged: Ann has 0 and 1, overall a half each.
        [(2 + 1 / 2) / 3, (1 + 1 / 2) / 3],
        # Bo without 3 has nothing: the overall shares. Nobody knows who wrote 4.
        [2 / 3, 1 / 3],
        [0, 0],
        # Cy has no tagged article.
        [1 / 2, 1 / 2],
    ]
    np.testing.assert_allclose(shares, expected, atol=2e-6)
    np.testing.assert_allclose(support[:, 0], np.log([2, 2, 3, 1, 1, 1]), rtol=1e-6)


def test_a_new_article_by_a_known_author_gets_the_shares_of_all_hers() -> None:
    new = Articles.of_names(["", ""], ["Ann", "Zoe"], [[], []])
    shares, support = shares_of(new, 0)
    np.testing.assert_allclose(shares, [[1, 0.5], [0, 0]], atol=2e-6)
    np.testing.assert_allclose(support[:, 0], [np.log(3), 0], rtol=1e-6)

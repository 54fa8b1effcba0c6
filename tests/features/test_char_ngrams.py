import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from tagsage.features import Articles, KnownArticles
from tagsage.features.char_ngrams import MIN_ARTICLES, ngrams
from tests.features.corpora import NO_TAGS, features, fit

TEXTS = [f"{name}{end}" for name in ("libfoo", "libbar", "cluster") for end in ("", "s", "-dev")]


def articles_of(texts: list[str]) -> Articles:
    none = [""] * len(texts)
    keys = [f"x.example/{number}" for number in range(len(texts))]
    return Articles.of_names(texts, none, [[] for _ in texts], keys=keys)


def test_ngrams_are_weighted_as_scikit_learn_does():
    articles = articles_of(TEXTS * 2 + ["lib lib"])
    known = KnownArticles.of(articles, *NO_TAGS)
    (part,) = features(fit("char_ngrams", articles, known), known.mark(articles))
    oracle = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, min_df=MIN_ARTICLES
    )
    expected = oracle.fit_transform(articles.texts).toarray()
    assert part.shape == expected.shape
    # Columns are in another order.
    products = part @ part.T
    np.testing.assert_allclose(products, expected @ expected.T, atol=1e-6)


# What scikit-learn's expression calls a blank, and lower case of as many letters.
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc"), max_codepoint=0x2FFF), max_size=30)


@given(st.lists(TEXT, min_size=1, max_size=6))
def test_ngrams_are_those_of_scikit_learn(texts):
    row, hashes = ngrams(texts)
    try:
        counts = CountVectorizer(analyzer="char_wb", ngram_range=(3, 5)).fit_transform(texts)
    except ValueError:
        assert len(hashes) == 0
        return
    assert len(set(hashes.tolist())) == counts.shape[1]
    assert np.bincount(row, minlength=len(texts)).tolist() == counts.sum(axis=1).ravel().tolist()[0]


def test_an_article_s_features_are_the_sum_of_its_words_and_shared_ngrams_are_shared_out():
    texts = [*TEXTS, "libfoo libbar", ""]
    articles = articles_of(texts * 3)
    known = KnownArticles.of(articles, *NO_TAGS)
    block = fit("char_ngrams", articles, known)
    (part,) = block.transform(known.mark(articles))
    text_of, words, shares = block.by_word(articles.texts, part)
    total = np.zeros(part.shape)
    np.add.at(total, text_of, shares.toarray())
    np.testing.assert_allclose(total, part.toarray(), atol=1e-6)
    of_both = np.flatnonzero(text_of == texts.index("libfoo libbar"))
    assert words[of_both].tolist() == ["libfoo", "libbar"]
    # " li", "lib", "ib ", and longer ones.
    _, hashes = ngrams(["lib"])
    column = block.columns_of(hashes[1:2])[0]
    first, second = shares[of_both].toarray()[:, column]
    assert first == second > 0
    (unknown,) = block.transform(known.mark(articles_of(["xyzzy", ""])))
    assert unknown.shape == (2, part.shape[1])
    assert not unknown.nnz

"""The names of candidates: which are refused before a run begins, and with what words."""

from __future__ import annotations

import re

import pytest

from tagsage.errors import NonRetryableError
from tagsage.features import BLOCKS
from tagsage.learn.candidate_names import check_candidates
from tagsage.learn.classifiers import CLASSIFIERS
from tagsage.settings import Settings


def check(candidates: str) -> None:
    check_candidates(Settings(candidates=candidates).parsed_candidates())


def test_default_candidates_are_made_of_known_parts():
    check_candidates(Settings().parsed_candidates())


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_goes_with_the_linear_classifier(block):
    check(f"{block}:linear")


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_every_classifier_takes_dense_blocks(classifier):
    check(f"text+lists:{classifier}")


@pytest.mark.parametrize("feature_set", ["txt", "text+sounds", "text+text", "Text"])
def test_unknown_or_repeated_blocks_are_refused_with_those_there_are(feature_set):
    sentence = (
        f"Candidate '{feature_set}:mlp': a feature set is made of some of {', '.join(BLOCKS)}, "
        "each once, joined by +."
    )
    with pytest.raises(NonRetryableError, match=f"^{re.escape(sentence)}$"):
        check(f"text:mlp,{feature_set}:mlp")


@pytest.mark.parametrize("classifier", ["svm", "mlp:x", "MLP"])
def test_an_unknown_classifier_is_refused_with_those_there_are(classifier):
    sentence = f"Candidate 'text:{classifier}': the classifier is one of {', '.join(CLASSIFIERS)}."
    with pytest.raises(NonRetryableError, match=f"^{re.escape(sentence)}$"):
        check(f"text:mlp,text:{classifier}")


@pytest.mark.parametrize("block", [name for name in BLOCKS if BLOCKS[name].sparse])
def test_a_block_of_many_columns_is_refused_for_a_dense_classifier(block):
    sentence = (
        f"Candidate 'text+{block}:mlp': {block} has a column per word, list or author, and only "
        "linear takes so many."
    )
    with pytest.raises(NonRetryableError, match=f"^{re.escape(sentence)}$"):
        check(f"text+{block}:mlp")


def test_a_candidate_of_any_length_is_told_in_a_short_sentence():
    with pytest.raises(NonRetryableError) as refused:
        check(f"{'x' * 10_000}:mlp")
    assert len(str(refused.value)) < 500

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


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_goes_with_the_linear_classifier(block):
    check(f"{block}:linear")


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_every_classifier_takes_dense_blocks(classifier):
    check(f"text+lists:{classifier}")


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        *((f"{wrong}:mlp", "each once, joined by") for wrong in ("txt", "text+text", "Text")),
        *((f"text:{wrong}", "the classifier is one of linear, ") for wrong in ("svm", "MLP")),
        *(
            (
                f"text+{block}:mlp",
                f"{block} has a column per .* only linear and ensemble take so many",
            )
            for block in BLOCKS
            if BLOCKS[block].sparse
        ),
    ],
)
def test_unsuitable_candidates_are_refused(candidate, message):
    name = re.escape(candidate)
    with pytest.raises(NonRetryableError, match=f"^Candidate '{name}': .*{message}"):
        check(f"text:mlp,{candidate}")

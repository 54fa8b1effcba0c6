"""What the tests of learn have, too: small labelled data, and models that fit it quickly."""

from tests.learn.conftest import data, small_models

__all__ = ["data", "small_models"]

"""The small labelled data of the tests of learn."""

from tests.learn.conftest import data

__all__ = ["data"]

"""Work on partitions of a corpus: a function mapped over them, and sums by key."""

from tagsage.runner.base import Runner
from tagsage.runner.local import LocalRunner
from tagsage.runner.spark import SparkRunner

__all__ = ["LocalRunner", "Runner", "SparkRunner"]

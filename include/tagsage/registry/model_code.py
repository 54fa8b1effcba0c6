"""The code that MLflow executes to load a model ("model from code"); nothing imports it."""

from __future__ import annotations

from mlflow.models import set_model

from tagsage.registry.pyfunc import PyfuncTagger

set_model(PyfuncTagger())

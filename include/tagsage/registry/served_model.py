"""What MLflow runs to load a tagger: "model from code".

MLflow copies this file into the model and executes it when the model is loaded, with the copy of
the package that lies beside it on the path. Nothing else imports it.
"""

from __future__ import annotations

from mlflow.models import set_model

from tagsage.registry.servable import ServableModel

set_model(ServableModel())

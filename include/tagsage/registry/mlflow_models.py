"""MLflow's names for models, imported without the warning it gives about its own code."""

import warnings

with warnings.catch_warnings():
    # mlflow.types.responses of MLflow 3.17 warns about a type hint of its own when it is imported.
    warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType")
    from mlflow.models import Model, ModelSignature
    from mlflow.pyfunc import PyFuncModel, load_model, save_model
    from mlflow.pyfunc.model import PythonModel

__all__ = [
    "Model",
    "ModelSignature",
    "PyFuncModel",
    "PythonModel",
    "load_model",
    "save_model",
]

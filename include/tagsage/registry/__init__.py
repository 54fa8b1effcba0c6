"""MLflow: runs, registered versions, the champion, and the pyfunc model."""

import os
import warnings

# MLflow reads these when it is imported. Without them it reports its use to its makers, draws
# progress bars for every upload, and waits many minutes for a server that is away.
for _name, _value in {  # ruff: ignore[non-empty-init-module] - the earliest place there is
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
}.items():
    os.environ.setdefault(_name, _value)
# mlflow.types.responses of MLflow 3.17 warns about a type hint of its own when it is imported.
warnings.filterwarnings(  # ruff: ignore[non-empty-init-module] - as above
    "ignore", message=".*Any type hint is inferred as AnyType"
)

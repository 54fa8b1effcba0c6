"""MLflow: the run's runs, the registry, promotion, and the model that is served."""

import os

# MLflow reads these when it is imported, so they are set before any module of this room does so.
# It would otherwise report its use to its makers, draw progress bars for every upload, and wait
# many minutes for a server that is away.
for _name, _value in {  # ruff: ignore[non-empty-init-module] - the earliest place there is
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
}.items():
    os.environ.setdefault(_name, _value)

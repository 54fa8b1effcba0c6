"""The pages: functions that read the store, and templates; no pandas, MLflow or JAX."""

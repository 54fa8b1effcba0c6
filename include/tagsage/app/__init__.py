"""The pages that Airflow's API server shows: functions that read the store, and templates.

Nothing here imports pandas, MLflow or JAX, and nothing is written.
"""

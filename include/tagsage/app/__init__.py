"""The pages in Airflow's API server: functions that read the store, and templates.

Nothing here imports pandas, MLflow or JAX, and nothing is written.
"""

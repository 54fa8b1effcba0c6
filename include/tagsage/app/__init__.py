"""The pages that Airflow's API server shows: plain functions over the catalogue, and templates.

Nothing here imports pandas, MLflow, JAX or the store: one SQLite file is read, and nothing written.
"""

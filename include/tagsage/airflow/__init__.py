"""What the DAGs and the plugin need of Airflow; no other room imports this one, or Airflow."""

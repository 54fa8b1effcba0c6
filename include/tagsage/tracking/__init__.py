"""MLflow: runs, the registry, promotion and the servable model."""

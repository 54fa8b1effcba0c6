"""Feature sets, the frozen split, classifiers, thresholds, metrics and their comparison."""

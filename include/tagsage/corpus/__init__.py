"""Sources of articles and lists, read into validated frames and a quarantine."""

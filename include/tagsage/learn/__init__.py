"""Learning: the frozen split, classifiers, calibration, thresholds and fitted candidates."""

"""How good candidates are: metrics, intervals, slices, findings and the promotion rule."""

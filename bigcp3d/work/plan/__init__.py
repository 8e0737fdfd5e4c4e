"""The plan of a run, and which blocks each task reads."""

"""The progress of a run: as bars, as lines of text, or as JSON."""

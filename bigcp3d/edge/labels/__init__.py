"""OME-Zarr labels: planned, checked, written, listed, found again."""

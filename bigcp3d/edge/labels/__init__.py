"""OME-Zarr labels: planned, written, announced, found again."""

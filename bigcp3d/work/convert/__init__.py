"""Converts volumes of other formats to OME-Zarr, piece by piece."""

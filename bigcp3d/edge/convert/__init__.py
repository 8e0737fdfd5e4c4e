"""Reads volumes in other formats: TIFF, folders of planes, HDF5, Imaris, N5, and what bioio reads."""

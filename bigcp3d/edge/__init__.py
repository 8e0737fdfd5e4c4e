"""What touches the disk: OME-Zarr, model files, tables and records."""

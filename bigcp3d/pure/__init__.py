"""Arrays in, arrays out: no zarr, no dask, no paths."""

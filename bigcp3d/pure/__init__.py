"""The computation: functions that take arrays and return arrays, without zarr, dask or paths."""

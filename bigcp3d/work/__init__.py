"""One function a pass, and what else runs on files: training, simulation, evaluation. No dask."""

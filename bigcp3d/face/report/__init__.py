"""The report of a run: one HTML file with pictures, plots and numbers, which needs nothing else."""

"""A page on which a run can be watched: what Dask's own pages do not show of it."""

"""Runs on small volumes, as in `tests.schedule`."""

from tests.schedule.conftest import movie_store, random_model, remembered_patches, tissue_store

__all__ = ["movie_store", "random_model", "remembered_patches", "tissue_store"]

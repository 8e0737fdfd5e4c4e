"""Runs on small volumes, as in `tests.schedule`; and a browser."""

from tests.browser import chromium
from tests.schedule.conftest import movie_store, random_model, tissue_store

__all__ = ["chromium", "movie_store", "random_model", "tissue_store"]

"""Runs on small volumes, as in `tests.schedule`; and a browser."""

from tests.browser import chromium
from tests.schedule.conftest import random_model, tissue_store

__all__ = ["chromium", "random_model", "tissue_store"]

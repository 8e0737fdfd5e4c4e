"""Runs on small volumes, as in `tests.schedule`."""

from tests.schedule.conftest import random_model, tissue_store

__all__ = ["random_model", "tissue_store"]

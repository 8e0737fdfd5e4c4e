"""Paths, object stores and web servers, and zarr stores in them."""

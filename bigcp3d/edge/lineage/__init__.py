"""Lineages on disk."""

"""Measurements of cells: size, shape, surface, neighbours."""

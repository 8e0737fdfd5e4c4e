"""Voxels follow the flow to the points where they come to rest."""

"""Cells joined over time: links between two time points, and the tracks that they form."""

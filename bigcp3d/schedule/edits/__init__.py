"""Corrections of single cells of labels, and their review."""

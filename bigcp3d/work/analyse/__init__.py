"""Evaluation, measurement and reports of labels on disk."""

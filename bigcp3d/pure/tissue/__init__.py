"""Simulated tissue, rendered box by box."""

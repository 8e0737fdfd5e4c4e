"""Preparation of images before the network: filters, and how far they see."""

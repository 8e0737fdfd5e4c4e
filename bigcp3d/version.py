"""The version of bigcp3d; pyproject reads it from here."""

__version__ = "0.1.0"

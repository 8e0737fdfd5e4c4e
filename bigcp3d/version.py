"""The version of bigcp3d; pyproject reads it from here."""

__version__ = "0.2.0"

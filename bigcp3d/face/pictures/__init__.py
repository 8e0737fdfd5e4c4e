"""Pictures of results, as PNG, PDF or SVG files."""

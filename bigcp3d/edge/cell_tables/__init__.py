"""Tables of cells as files, or inside the store."""

"""One function a pass: reads, calls the pure layer, writes its own block."""

"""How stained cells may look: their places, shapes and stains, each as one small function."""

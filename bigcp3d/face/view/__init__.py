"""Image and labels in Neuroglancer or napari."""

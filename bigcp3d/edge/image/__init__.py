"""OME-Zarr images: metadata, levels, voxels."""

"""Every voxel gets the id of its cell; label pyramids."""

"""Follow the flow from every voxel to the point where its path comes to rest."""

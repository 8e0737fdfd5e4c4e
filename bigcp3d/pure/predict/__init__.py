"""From image to maps: patches, the network, intensities."""

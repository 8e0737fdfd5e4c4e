"""What a microscope and its camera do to an image, each as one small function."""

"""Training targets and augmentation."""

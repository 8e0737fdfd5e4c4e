"""Models: their files and cards, and the families that find and load them."""

"""A trained network for other images and classes."""

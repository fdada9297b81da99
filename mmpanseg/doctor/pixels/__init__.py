"""Checks of one image with its map or objects."""

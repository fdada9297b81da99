"""Checks of JSONs, folders and file names, without reading images."""

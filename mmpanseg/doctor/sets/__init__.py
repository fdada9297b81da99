"""Checks of whole sets and of several splits."""

"""Repaired copies of data sets."""

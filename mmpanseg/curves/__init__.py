"""Curves of trainings from their log files: losses, learning rates, scores, scores by class."""

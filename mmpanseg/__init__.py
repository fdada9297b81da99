"""Mask-classification models for panoptic, instance and semantic segmentation."""
from mmpanseg import compat

compat.apply()

# everything else relies on what compat has put right
from mmpanseg import datasets, engine, evaluation, models, visualization
from mmpanseg.version import __version__

__all__ = ['__version__', 'datasets', 'engine', 'evaluation', 'models', 'visualization']

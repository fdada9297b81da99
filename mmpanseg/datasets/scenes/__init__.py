from mmpanseg.datasets.scenes.dataset import ScenesDataset
from mmpanseg.datasets.scenes.generator import make_scene, write_scenes

__all__ = ['ScenesDataset', 'make_scene', 'write_scenes']

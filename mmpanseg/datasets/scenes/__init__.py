from .dataset import ScenesDataset
from .generator import make_scene, write_scenes

__all__ = ['ScenesDataset', 'make_scene', 'write_scenes']

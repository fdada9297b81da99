from mmpanseg.datasets.scenes.generator import ScenesDataset, make_scene, write_scenes

__all__ = ['ScenesDataset', 'make_scene', 'write_scenes']

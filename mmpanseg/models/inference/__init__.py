from mmpanseg.models.inference.test_cfg import OutputOptions, TilingOptions
from mmpanseg.models.inference.test_time_augmentation import PanopticTTAModel

__all__ = ['OutputOptions', 'PanopticTTAModel', 'TilingOptions']

from mmpanseg.models.inference.test_time_augmentation import PanopticTTAModel
from mmpanseg.models.segmentors.mask_transformer import MaskTransformer

__all__ = ['MaskTransformer', 'PanopticTTAModel']

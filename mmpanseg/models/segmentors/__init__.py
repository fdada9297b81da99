from .mask_transformer import MaskTransformer
from .tta import PanopticTTAModel

__all__ = ['MaskTransformer', 'PanopticTTAModel']

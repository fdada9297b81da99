from mmpanseg.models.segmentors.mask_transformer import MaskTransformer

__all__ = ['MaskTransformer']

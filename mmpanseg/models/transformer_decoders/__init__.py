from .detr_masks import DETRMaskDecoder
from .kmeans import KMeansDecoder
from .location import LocationDecoder
from .mask_attention import MaskAttentionDecoder
from .masked_attention import MaskedAttentionDecoder

__all__ = ['DETRMaskDecoder', 'KMeansDecoder', 'LocationDecoder', 'MaskAttentionDecoder',
           'MaskedAttentionDecoder']

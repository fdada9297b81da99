from .kmeans import KMeansDecoder
from .location import LocationDecoder
from .mask_attention import MaskAttentionDecoder
from .masked_attention import MaskedAttentionDecoder

__all__ = ['KMeansDecoder', 'LocationDecoder', 'MaskAttentionDecoder', 'MaskedAttentionDecoder']

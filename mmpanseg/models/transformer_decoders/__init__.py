from .kmeans import KMeansDecoder
from .masked_attention import MaskedAttentionDecoder

__all__ = ['KMeansDecoder', 'MaskedAttentionDecoder']

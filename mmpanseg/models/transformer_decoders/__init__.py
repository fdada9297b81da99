from mmpanseg.models.transformer_decoders.detr_mask_decoder import DETRMaskDecoder
from mmpanseg.models.transformer_decoders.kmeans_decoder import KMeansDecoder
from mmpanseg.models.transformer_decoders.location_decoder import LocationDecoder
from mmpanseg.models.transformer_decoders.masked_attention_decoder import MaskedAttentionDecoder
from mmpanseg.models.transformer_decoders.segformer_mask_decoder import MaskAttentionDecoder

__all__ = ['DETRMaskDecoder', 'KMeansDecoder', 'LocationDecoder', 'MaskAttentionDecoder',
           'MaskedAttentionDecoder']

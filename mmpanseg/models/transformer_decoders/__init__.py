from .masked_attention import MaskedAttentionDecoder

__all__ = ['MaskedAttentionDecoder']

from .fpn import FPNPixelDecoder, TransformerFPNPixelDecoder
from .msdeformattn import MSDeformAttnPixelDecoder

__all__ = ['FPNPixelDecoder', 'MSDeformAttnPixelDecoder', 'TransformerFPNPixelDecoder']

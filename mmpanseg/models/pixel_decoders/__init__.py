from .fpn import FPNPixelDecoder, TransformerFPNPixelDecoder
from .kmax import KMaXPixelDecoder
from .msdeformattn import MSDeformAttnPixelDecoder

__all__ = ['FPNPixelDecoder', 'KMaXPixelDecoder', 'MSDeformAttnPixelDecoder',
           'TransformerFPNPixelDecoder']

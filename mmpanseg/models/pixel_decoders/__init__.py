from .deformable_tokens import DeformableTokenEncoder
from .fpn import FPNPixelDecoder, TransformerFPNPixelDecoder
from .kmax import KMaXPixelDecoder
from .msdeformattn import MSDeformAttnPixelDecoder

__all__ = [
    'DeformableTokenEncoder', 'FPNPixelDecoder', 'KMaXPixelDecoder', 'MSDeformAttnPixelDecoder',
    'TransformerFPNPixelDecoder']

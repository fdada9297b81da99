from .bifpn import BiFPNPixelDecoder
from .deformable_tokens import DeformableTokenEncoder
from .fapn import FaPNPixelDecoder
from .fpn import FPNPixelDecoder, TransformerFPNPixelDecoder
from .kmax import KMaXPixelDecoder
from .msdeformattn import MSDeformAttnPixelDecoder
from .semantic_fpn import SemanticFPNPixelDecoder

__all__ = [
    'BiFPNPixelDecoder', 'DeformableTokenEncoder', 'FPNPixelDecoder', 'FaPNPixelDecoder',
    'KMaXPixelDecoder', 'MSDeformAttnPixelDecoder', 'SemanticFPNPixelDecoder',
    'TransformerFPNPixelDecoder']

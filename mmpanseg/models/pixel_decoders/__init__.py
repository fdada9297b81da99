from mmpanseg.models.pixel_decoders.bifpn import BiFPNPixelDecoder
from mmpanseg.models.pixel_decoders.deformable_tokens import DeformableTokenEncoder
from mmpanseg.models.pixel_decoders.fapn import FaPNPixelDecoder
from mmpanseg.models.pixel_decoders.fpn import FPNPixelDecoder, TransformerFPNPixelDecoder
from mmpanseg.models.pixel_decoders.kmax import KMaXPixelDecoder
from mmpanseg.models.pixel_decoders.msdeformattn import MSDeformAttnPixelDecoder
from mmpanseg.models.pixel_decoders.semantic_fpn import SemanticFPNPixelDecoder

__all__ = [
    'BiFPNPixelDecoder', 'DeformableTokenEncoder', 'FPNPixelDecoder', 'FaPNPixelDecoder',
    'KMaXPixelDecoder', 'MSDeformAttnPixelDecoder', 'SemanticFPNPixelDecoder',
    'TransformerFPNPixelDecoder']

from .pixelwise import PixelwiseFusionHead

__all__ = ['PixelwiseFusionHead']

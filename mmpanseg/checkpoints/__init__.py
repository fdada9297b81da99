from .mask2former import convert_mask2former
from .mp_former import convert_mp_former

__all__ = ['convert_mask2former', 'convert_mp_former']

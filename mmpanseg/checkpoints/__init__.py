from .mask2former import convert_mask2former

__all__ = ['convert_mask2former']

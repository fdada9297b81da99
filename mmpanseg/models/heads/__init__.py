from .mask2former import Mask2FormerHead

__all__ = ['Mask2FormerHead']

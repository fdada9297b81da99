from .mask_criterion import MaskCriterion

__all__ = ['MaskCriterion']

from .kmax import KMaXCriterion
from .mask_criterion import MaskCriterion

__all__ = ['KMaXCriterion', 'MaskCriterion']

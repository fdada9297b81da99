from .kmax import KMaXCriterion
from .mask_criterion import MaskCriterion
from .panoptic_segformer import PanopticSegFormerCriterion

__all__ = ['KMaXCriterion', 'MaskCriterion', 'PanopticSegFormerCriterion']

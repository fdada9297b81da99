from mmpanseg.models.losses.kmax_criterion import KMaXCriterion
from mmpanseg.models.losses.mask_criterion import MaskCriterion
from mmpanseg.models.losses.panoptic_segformer_criterion import PanopticSegFormerCriterion

__all__ = ['KMaXCriterion', 'MaskCriterion', 'PanopticSegFormerCriterion']

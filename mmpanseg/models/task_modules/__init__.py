from .assigners import OneToOneAssigner
from .match_costs import ClassificationCost, MaskCrossEntropyCost, MaskDiceCost, MaskFocalCost

__all__ = [
    'ClassificationCost', 'MaskCrossEntropyCost', 'MaskDiceCost', 'MaskFocalCost',
    'OneToOneAssigner']

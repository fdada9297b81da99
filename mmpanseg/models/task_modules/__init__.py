from .assigners import OneToOneAssigner
from .match_costs import ClassificationCost, MaskCrossEntropyCost, MaskDiceCost

__all__ = ['ClassificationCost', 'MaskCrossEntropyCost', 'MaskDiceCost', 'OneToOneAssigner']

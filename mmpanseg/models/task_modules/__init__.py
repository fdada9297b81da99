from .assigners import OneToOneAssigner
from .location_costs import (FocalClassificationCost, LocationGIoUCost, LocationL1Cost,
                             SquaredDiceCost)
from .match_costs import ClassificationCost, MaskCrossEntropyCost, MaskDiceCost, MaskFocalCost
from .multi_round_assigner import MultiRoundAssigner

__all__ = [
    'ClassificationCost', 'FocalClassificationCost', 'LocationGIoUCost', 'LocationL1Cost',
    'MaskCrossEntropyCost', 'MaskDiceCost', 'MaskFocalCost', 'MultiRoundAssigner',
    'OneToOneAssigner', 'SquaredDiceCost']

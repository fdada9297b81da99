from mmpanseg.models.task_modules.bipartite_matching import (
                             ClassificationCost,
                             MaskCrossEntropyCost,
                             MaskDiceCost,
                             MaskFocalCost,
                             OneToOneAssigner,
)
from mmpanseg.models.task_modules.location_matching import (
                             FocalClassificationCost,
                             LocationGIoUCost,
                             LocationL1Cost,
                             MultiRoundAssigner,
                             SquaredDiceCost,
)

__all__ = [
    'ClassificationCost', 'FocalClassificationCost', 'LocationGIoUCost', 'LocationL1Cost',
    'MaskCrossEntropyCost', 'MaskDiceCost', 'MaskFocalCost', 'MultiRoundAssigner',
    'OneToOneAssigner', 'SquaredDiceCost']

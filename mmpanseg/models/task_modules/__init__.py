from mmpanseg.models.task_modules.bipartite_matching import (
    Assigner,
    ClassificationCost,
    MaskCrossEntropyCost,
    MaskDiceCost,
    MaskFocalCost,
    MatchCost,
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
    'Assigner', 'ClassificationCost', 'FocalClassificationCost', 'LocationGIoUCost',
    'LocationL1Cost', 'MaskCrossEntropyCost', 'MaskDiceCost', 'MaskFocalCost', 'MatchCost',
    'MultiRoundAssigner', 'OneToOneAssigner', 'SquaredDiceCost']

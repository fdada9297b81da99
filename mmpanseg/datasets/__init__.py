from .camvid import CamVidPanopticDataset
from .coco_panoptic import CocoPanopticDataset
from .panoptic import PanopticDataset
from .scenes import ScenesDataset
from .semantic import SemanticDataset
from .transforms import LoadPanopticMap, LoadSemanticMap, PackPanopticInputs, SSDColorJitter

__all__ = [
    'CamVidPanopticDataset', 'CocoPanopticDataset', 'LoadPanopticMap', 'LoadSemanticMap',
    'PackPanopticInputs', 'PanopticDataset', 'SSDColorJitter', 'ScenesDataset', 'SemanticDataset'
]

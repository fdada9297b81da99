from .camvid import CamVidPanopticDataset
from .coco_panoptic import CocoPanopticDataset
from .panoptic import PanopticDataset
from .scenes import ScenesDataset
from .transforms import LoadPanopticMap, PackPanopticInputs

__all__ = [
    'CamVidPanopticDataset', 'CocoPanopticDataset', 'LoadPanopticMap', 'PackPanopticInputs',
    'PanopticDataset', 'ScenesDataset'
]

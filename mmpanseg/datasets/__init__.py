from .coco_panoptic import CocoPanopticDataset
from .panoptic import PanopticDataset
from .transforms import LoadPanopticMap, PackPanopticInputs

__all__ = [
    'CocoPanopticDataset', 'LoadPanopticMap', 'PackPanopticInputs', 'PanopticDataset'
]

from .ade20k import ADE20KInstanceDataset, ADE20KPanopticDataset, ADE20KSemanticDataset
from .camvid import CamVidInstanceDataset, CamVidPanopticDataset, CamVidSemanticDataset
from .cityscapes import (CityscapesInstanceDataset, CityscapesPanopticDataset,
                         CityscapesSemanticDataset)
from .coco_panoptic import CocoPanopticDataset
from .coco_semantic import CocoSemanticDataset, CocoStuffDataset
from .instance import CocoInstanceDataset, InstanceDataset
from .mapillary import MapillaryPanopticDataset, MapillarySemanticDataset
from .mix import RedrawingMixDataset
from .panoptic import PanopticDataset
from .scenes import ScenesDataset
from .semantic import SemanticDataset
from .transforms import (LoadInstanceMasks, LoadPanopticMap, LoadSemanticMap, PackPanopticInputs,
                         SSDColorJitter)

__all__ = [
    'ADE20KInstanceDataset', 'ADE20KPanopticDataset', 'ADE20KSemanticDataset',
    'CamVidInstanceDataset', 'CamVidPanopticDataset', 'CamVidSemanticDataset',
    'CityscapesInstanceDataset', 'CityscapesPanopticDataset', 'CityscapesSemanticDataset',
    'CocoInstanceDataset', 'CocoPanopticDataset', 'CocoSemanticDataset', 'CocoStuffDataset',
    'InstanceDataset', 'LoadInstanceMasks', 'LoadPanopticMap', 'LoadSemanticMap',
    'MapillaryPanopticDataset', 'MapillarySemanticDataset', 'PackPanopticInputs', 'PanopticDataset',
    'RedrawingMixDataset', 'SSDColorJitter', 'ScenesDataset', 'SemanticDataset'
]

from mmpanseg.datasets.ade20k import (
                         ADE20KInstanceDataset,
                         ADE20KPanopticDataset,
                         ADE20KSemanticDataset,
)
from mmpanseg.datasets.camvid import (
                         CamVidInstanceDataset,
                         CamVidPanopticDataset,
                         CamVidSemanticDataset,
)
from mmpanseg.datasets.cityscapes import (
                         CityscapesInstanceDataset,
                         CityscapesPanopticDataset,
                         CityscapesSemanticDataset,
)
from mmpanseg.datasets.coco import CocoPanopticDataset, CocoSemanticDataset, CocoStuffDataset
from mmpanseg.datasets.instance import CocoInstanceDataset, InstanceDataset
from mmpanseg.datasets.mapillary import MapillaryPanopticDataset, MapillarySemanticDataset
from mmpanseg.datasets.multi_sample import ResamplingMixDataset
from mmpanseg.datasets.panoptic import PanopticDataset
from mmpanseg.datasets.scenes import ScenesDataset
from mmpanseg.datasets.semantic import SemanticDataset
from mmpanseg.datasets.transforms import (
                         LoadChannels,
                         LoadInstanceMasks,
                         LoadPanopticMap,
                         LoadSemanticMap,
                         PackPanopticInputs,
                         SSDColorJitter,
)
from mmpanseg.datasets.wrappers import ConcatDataset, RepeatDataset

__all__ = [
    'ADE20KInstanceDataset', 'ADE20KPanopticDataset', 'ADE20KSemanticDataset',
    'CamVidInstanceDataset', 'CamVidPanopticDataset', 'CamVidSemanticDataset',
    'CityscapesInstanceDataset', 'CityscapesPanopticDataset', 'CityscapesSemanticDataset',
    'CocoInstanceDataset', 'CocoPanopticDataset', 'CocoSemanticDataset', 'CocoStuffDataset',
    'ConcatDataset', 'InstanceDataset', 'LoadChannels', 'LoadInstanceMasks', 'LoadPanopticMap',
    'LoadSemanticMap',
    'MapillaryPanopticDataset', 'MapillarySemanticDataset', 'PackPanopticInputs', 'PanopticDataset',
    'RepeatDataset', 'ResamplingMixDataset', 'SSDColorJitter', 'ScenesDataset', 'SemanticDataset'
]

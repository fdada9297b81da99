from mmpanseg.datasets.transforms.channel_jitter import ChannelJitter
from mmpanseg.datasets.transforms.copy_paste import PanopticCopyPaste
from mmpanseg.datasets.transforms.formatting import PackPanopticInputs
from mmpanseg.datasets.transforms.large_scale_jitter import FilterLabeledPixels, LargeScaleJitter
from mmpanseg.datasets.transforms.loading_channels import LoadChannels
from mmpanseg.datasets.transforms.loading_images import (
    LoadAnnotations,
    LoadImageFromFile,
    LoadImageFromNDArray,
)
from mmpanseg.datasets.transforms.loading_instances import LoadInstanceMasks
from mmpanseg.datasets.transforms.loading_panoptic import LoadPanopticAnnotations, LoadPanopticMap
from mmpanseg.datasets.transforms.loading_semantic import LoadSemanticMap
from mmpanseg.datasets.transforms.photometric import SSDColorJitter
from mmpanseg.datasets.transforms.resize import Resize

__all__ = [
    'ChannelJitter', 'FilterLabeledPixels', 'LargeScaleJitter', 'LoadAnnotations', 'LoadChannels',
    'LoadImageFromFile',
    'LoadImageFromNDArray', 'LoadInstanceMasks', 'LoadPanopticAnnotations', 'LoadPanopticMap',
    'LoadSemanticMap', 'PackPanopticInputs', 'PanopticCopyPaste', 'Resize',
    'SSDColorJitter'
]

from .color import SSDColorJitter
from .copy_paste import PanopticCopyPaste
from .formatting import PackPanopticInputs
from .large_scale_jitter import FilterLabelledPixels, LargeScaleJitter
from .loading import LoadPanopticMap
from .loading_images import LoadAnnotations, LoadImageFromFile, LoadImageFromNDArray
from .loading_instances import LoadInstanceMasks
from .loading_semantic import LoadSemanticMap

__all__ = [
    'FilterLabelledPixels', 'LargeScaleJitter', 'LoadAnnotations', 'LoadImageFromFile',
    'LoadImageFromNDArray', 'LoadInstanceMasks', 'LoadPanopticMap', 'LoadSemanticMap',
    'PackPanopticInputs', 'PanopticCopyPaste', 'SSDColorJitter'
]

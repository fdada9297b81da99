from .color import SSDColorJitter
from .formatting import PackPanopticInputs
from .loading import LoadPanopticMap
from .loading_semantic import LoadSemanticMap

__all__ = ['LoadPanopticMap', 'LoadSemanticMap', 'PackPanopticInputs', 'SSDColorJitter']

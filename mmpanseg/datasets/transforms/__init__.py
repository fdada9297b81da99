from .formatting import PackPanopticInputs
from .loading import LoadPanopticMap

__all__ = ['LoadPanopticMap', 'PackPanopticInputs']

from .panoptic_inferencer import ImageError, PanopticInferencer

__all__ = ['ImageError', 'PanopticInferencer']

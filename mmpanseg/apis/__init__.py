from mmpanseg.apis.panoptic_inferencer import ImageError, PanopticInferencer
from mmpanseg.apis.test_options import make_tta_pipeline, use_tiles, use_tta

__all__ = ['ImageError', 'PanopticInferencer', 'make_tta_pipeline', 'use_tiles', 'use_tta']

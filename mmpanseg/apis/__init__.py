from mmpanseg.apis.config_edits import make_tta_pipeline, use_tiles, use_tta
from mmpanseg.apis.panoptic_inferencer import ImageError, PanopticInferencer

__all__ = ['ImageError', 'PanopticInferencer', 'make_tta_pipeline', 'use_tiles', 'use_tta']

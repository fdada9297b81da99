from mmpanseg.engine.command_line import import_mmdet

import_mmdet()  # the imports below would import optional packages of mmdet, for seconds

from mmpanseg.apis.config_edits import make_tta_pipeline, use_tiles, use_tta
from mmpanseg.apis.panoptic_inferencer import ImageError, PanopticInferencer
from mmpanseg.apis.predictor import FailedInput, Logits, Predictor, PredictorError, load
from mmpanseg.apis.video_frames import VideoError, VideoFrames

__all__ = ['FailedInput', 'ImageError', 'Logits', 'PanopticInferencer', 'Predictor',
           'PredictorError', 'VideoError', 'VideoFrames', 'load', 'make_tta_pipeline',
           'use_tiles', 'use_tta']

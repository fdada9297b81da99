from mmpanseg.checkpoints.convert import ConvertedCheckpoint, check_fit, convert
from mmpanseg.checkpoints.export import huggingface_config, to_mmdet, write_huggingface
from mmpanseg.checkpoints.huggingface import convert_huggingface, to_huggingface
from mmpanseg.checkpoints.kmax_deeplab import convert_kmax_deeplab
from mmpanseg.checkpoints.mask2former import (
    convert_mask2former,
    convert_mmdet,
    convert_mp_former,
)
from mmpanseg.checkpoints.panoptic_segformer import convert_panoptic_segformer
from mmpanseg.checkpoints.sources import SOURCES, CheckpointError
from mmpanseg.checkpoints.weight_files import read_weights

__all__ = [
    'CheckpointError', 'ConvertedCheckpoint', 'SOURCES', 'check_fit', 'convert',
    'convert_huggingface', 'convert_kmax_deeplab',
    'convert_mask2former', 'convert_mmdet', 'convert_mp_former',
    'convert_panoptic_segformer', 'huggingface_config', 'read_weights', 'to_huggingface',
    'to_mmdet', 'write_huggingface']

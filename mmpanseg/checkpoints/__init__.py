from .convert import Conversion, check_fit, convert
from .export import huggingface_config, to_mmdet, write_huggingface
from .files import read_weights
from .huggingface import convert_huggingface, to_huggingface
from .kmax_deeplab import convert_kmax_deeplab
from .mask2former import convert_mask2former
from .mmdet import convert_mmdet
from .mp_former import convert_mp_former
from .panoptic_segformer import convert_panoptic_segformer
from .sources import SOURCES, CheckpointError

__all__ = [
    'CheckpointError', 'Conversion', 'SOURCES', 'check_fit', 'convert', 'convert_huggingface',
    'convert_kmax_deeplab', 'convert_mask2former', 'convert_mmdet', 'convert_mp_former',
    'convert_panoptic_segformer', 'huggingface_config', 'read_weights', 'to_huggingface',
    'to_mmdet', 'write_huggingface']

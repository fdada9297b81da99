from .panoptic_coding import id2rgb, rgb2id
from .panoptic_png import read_panoptic_png, write_panoptic_png
from .segment_map import VOID, SegmentBatch, SegmentMap

__all__ = [
    'VOID', 'SegmentBatch', 'SegmentMap', 'id2rgb', 'read_panoptic_png', 'rgb2id',
    'write_panoptic_png']

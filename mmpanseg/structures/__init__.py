from mmpanseg.structures.panoptic_png import id2rgb, read_panoptic_png, rgb2id, write_panoptic_png
from mmpanseg.structures.segment_map import VOID, SegmentBatch, SegmentMap

__all__ = [
    'VOID', 'SegmentBatch', 'SegmentMap', 'id2rgb', 'read_panoptic_png', 'rgb2id',
    'write_panoptic_png']

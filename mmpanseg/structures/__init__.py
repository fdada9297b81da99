from .panoptic_coding import id2rgb, rgb2id
from .segment_map import VOID, SegmentBatch, SegmentMap

__all__ = ['VOID', 'SegmentBatch', 'SegmentMap', 'id2rgb', 'rgb2id']

"""What heads read of data samples."""
from mmdet.structures import SampleList

from mmpanseg.structures.segment_map import SegmentBatch


def batch_segments(batch_data_samples: SampleList) -> SegmentBatch:
    """Ground truth of a batch, over its padded input."""
    return SegmentBatch([sample.gt_segments for sample in batch_data_samples],
                        batch_data_samples[0].batch_input_shape)

"""Predictions in a file, for `tools/test.py --out`."""
from collections.abc import Sequence

from mmdet.evaluation import DumpDetResults


class DumpResults(DumpDetResults):
    """Writes the data samples as a pickle of dicts, without the ground truth.

    Args:
        out_file_path: name of the file, ending in .pkl or .pickle.
    """

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep the predictions of a batch, on the CPU."""
        super().process(data_batch, [{key: value for key, value in sample.items()
                                      if key != 'gt_segments'} for sample in data_samples])

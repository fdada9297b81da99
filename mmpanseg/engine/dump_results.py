"""Predictions in a file, for `tools/test.py --out`."""
from collections.abc import Sequence

from mmdet.structures.mask import encode_mask_results
from mmengine.evaluator import DumpResults as DumpAllResults
from torch import Tensor

_GROUND_TRUTH = ('gt_segments', 'gt_instances', 'ignored_instances', 'gt_panoptic_seg')


class DumpResults(DumpAllResults):
    """Writes the data samples as a pickle of dicts, without the ground truth.

    Masks of instances are run lengths in it, whatever ``model.test_cfg.mask_format`` is.

    Args:
        out_file_path: name of the file, ending in .pkl or .pickle.
    """

    default_prefix = 'dump'  # without one mmengine warns, though there are no scores

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep the predictions of a batch, on the CPU."""
        super().process(data_batch, [_prediction(sample) for sample in data_samples])


def _prediction(sample: dict) -> dict:
    """What a sample holds besides its ground truth."""
    kept = {key: value for key, value in sample.items() if key not in _GROUND_TRUTH}
    masks = kept.get('pred_instances', {}).get('masks')
    if isinstance(masks, Tensor):
        kept['pred_instances'] = dict(
            kept['pred_instances'], masks=encode_mask_results(masks.cpu().numpy()))
    return kept

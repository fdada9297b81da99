"""Dataset for transforms that mix several samples."""
import numpy as np
from mmdet.datasets import MultiImageMixDataset

from mmpanseg.registry import DATASETS


@DATASETS.register_module()
class RedrawingMixDataset(MultiImageMixDataset):
    """mmdet's mix of samples, where an unusable sample makes way for a random other one.

    (mmdet repeats the transform that gave the sample up, on the same sample.)

    Args:
        dataset: config of the dataset, whose pipeline loads image and annotations.
        pipeline: configs of the further transforms; one with ``get_indexes`` finds the samples it
            asked for under ``mix_results``.
        max_refetch: number of samples to give up before an error.

    Raises:
        RuntimeError: so many samples in a row were given up.
    """

    def __init__(self, dataset: dict, pipeline: list[dict], max_refetch: int = 1000,
                 **kwargs) -> None:
        super().__init__(dataset, pipeline, max_refetch=max_refetch, **kwargs)

    def __getitem__(self, idx: int) -> dict:
        for _ in range(self.max_refetch):
            results = self._draw(idx)
            if results is not None:
                return results
            idx = np.random.randint(len(self))
        raise RuntimeError(
            f'the pipeline of RedrawingMixDataset gave up {self.max_refetch} samples in a row; do '
            'its filters (mmpanseg.FilterLabelledPixels) fit the data?')

    def _draw(self, idx: int) -> dict | None:
        results = self.dataset[idx]
        for transform in self.pipeline:
            if hasattr(transform, 'get_indexes'):
                indexes = np.atleast_1d(transform.get_indexes(self.dataset))
                results['mix_results'] = [self.dataset[int(index)] for index in indexes]
            results = transform(results)
            if results is None:
                return None
        return results

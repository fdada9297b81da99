"""Dataset for transforms that mix several samples."""
import logging

import mmdet.datasets
import numpy as np
from mmdet.registry import DATASETS as MMDET_DATASETS
from mmengine.logging import print_log

from mmpanseg.datasets.base import SegmentationDataset
from mmpanseg.datasets.transforms.foreign_transforms import carry_map, loads_index_map
from mmpanseg.registry import DATASETS


@MMDET_DATASETS.register_module(force=True)
class MultiImageMixDataset(mmdet.datasets.MultiImageMixDataset):
    """mmdet's class of the same name, in its place, for data sets with index maps too.

    Arguments are mmdet's.

    Raises:
        ValueError: see
            :func:`mmpanseg.datasets.transforms.foreign_transforms.carry_map`.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(self.dataset, SegmentationDataset) and loads_index_map(
                self.dataset.pipeline):
            self.pipeline = carry_map(self.pipeline)


@DATASETS.register_module()
class ResamplingMixDataset(MultiImageMixDataset):
    """mmdet's mix of samples, where an unusable sample makes way for a random other one.

    (mmdet repeats the transform that gave the sample up, on the same sample.)

    Args:
        dataset: config of the dataset, whose pipeline loads image and annotations.
        pipeline: configs of the further transforms; one with ``get_indexes`` finds the samples it
            asked for under ``mix_results``.
        max_refetch: number of samples to give up before an error.
        max_first: the same as long as no sample was usable at all.

    Raises:
        RuntimeError: so many samples in a row were given up; the text names the last ones and the
            transform. ValueError: see
            :func:`mmpanseg.datasets.transforms.foreign_transforms.carry_map`.
    """

    def __init__(self, dataset: dict, pipeline: list[dict], max_refetch: int = 1000,
                 max_first: int = 25, **kwargs) -> None:
        super().__init__(dataset, pipeline, max_refetch=max_refetch, **kwargs)
        self.max_first = max_first
        self._any_usable = False

    def __getitem__(self, idx: int) -> dict:
        limit = self.max_refetch if self._any_usable else min(self.max_refetch, self.max_first)
        given_up = []
        for number in range(1, limit + 1):
            results, reason = self._draw(idx)
            if results is not None:
                self._any_usable = True
                return results
            given_up.append(reason)
            if number == self.max_first < limit:
                print_log(f'ResamplingMixDataset: {self._story(given_up)}; the loading of data is '
                          'slow where this happens often', logger='current',
                          level=logging.WARNING)
            idx = np.random.randint(len(self))
        raise RuntimeError(f'{self._story(given_up)}. Do its filters fit the data? Give '
                           'mmpanseg.FilterLabeledPixels a smaller min_pixels, annotate more of '
                           'the images, or take the filter out')

    def _draw(self, idx: int) -> tuple[dict | None, str]:
        """A sample; or None and what gave it up."""
        results = self.dataset[idx]
        path = results.get('img_path')
        for transform in self.pipeline:
            if hasattr(transform, 'get_indexes'):
                indexes = np.atleast_1d(transform.get_indexes(self.dataset))
                results['mix_results'] = [self.dataset[int(index)] for index in indexes]
            results = transform(results)
            if results is None:
                reason = getattr(transform, 'reason', None)
                return None, f'{path} by {transform}' + (f' ({reason})' if reason else '')
        return results, ''

    def _story(self, given_up: list[str]) -> str:
        """What happened, with the last samples."""
        return (f'the pipeline of ResamplingMixDataset gave up {len(given_up)} samples in a row, '
                f'the last ones {"; ".join(given_up[-3:])}')

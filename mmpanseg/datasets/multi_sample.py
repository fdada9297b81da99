"""Data sets for transforms that combine several samples."""
import logging
from collections.abc import Iterator
from typing import Any

import mmdet.datasets
import numpy as np
from mmdet.registry import DATASETS as MMDET_DATASETS
from mmengine.logging import print_log

from mmpanseg.datasets.base import SegmentationDataset
from mmpanseg.datasets.transforms.foreign_transforms import adapt_pipeline
from mmpanseg.registry import DATASETS


@MMDET_DATASETS.register_module(force=True)
class MultiImageMixDataset(mmdet.datasets.MultiImageMixDataset):
    """Replacement of mmdet's class of the same name that also supports index maps.

    Arguments are those of mmdet's class.

    Raises:
        ValueError: a transform cannot be applied to index maps, see
            :func:`mmpanseg.datasets.transforms.foreign_transforms.adapt_pipeline`.
    """

    pipeline: list

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        for source in _sources(self.dataset):
            self.pipeline = adapt_pipeline(self.pipeline, source.pipeline)


def _sources(dataset: Any) -> Iterator[SegmentationDataset]:
    """Iterate over the data sets of this library inside of wrappers."""
    parts = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    for part in parts:
        if part is not None:
            yield from _sources(part)
        elif isinstance(dataset, SegmentationDataset):
            yield dataset


@DATASETS.register_module()
class ResamplingMixDataset(MultiImageMixDataset):
    """mmdet's ``MultiImageMixDataset`` that replaces a rejected sample by another random one.

    A transform rejects a sample by returning None. (mmdet repeats the transform on the same
    sample.)

    Args:
        dataset: config of the data set, whose pipeline loads image and annotations.
        pipeline: configs of the further transforms. A transform with ``get_indexes`` finds the
            samples of these indices under ``mix_results``.
        max_refetch: number of samples rejected in a row that is an error.
        max_first: the same number before the first accepted sample.

    Raises:
        RuntimeError: too many samples in a row were rejected; the text names the last ones and the
            transform.
        ValueError: a transform cannot be applied to index maps.
    """

    def __init__(self, dataset: dict, pipeline: list[dict], max_refetch: int = 1000,
                 max_first: int = 25, **kwargs) -> None:
        super().__init__(dataset, pipeline, max_refetch=max_refetch, **kwargs)
        self.max_first = max_first
        self._any_usable = False

    def __getitem__(self, idx: int) -> dict:
        limit = self.max_refetch if self._any_usable else min(self.max_refetch, self.max_first)
        rejected = []
        for number in range(1, limit + 1):
            results, reason = self._load(idx)
            if results is not None:
                self._any_usable = True
                return results
            rejected.append(reason)
            if number == self.max_first < limit:
                print_log(f'ResamplingMixDataset: {self._story(rejected)}; loading is slow if '
                          'this happens often', logger='current',
                          level=logging.WARNING)
            idx = np.random.randint(len(self))
        raise RuntimeError(f'{self._story(rejected)}. Do its filters fit the data? Set '
                           'a smaller min_pixels of mmpanseg.FilterLabeledPixels, annotate more '
                           'of the images, or remove the filter')

    def _load(self, idx: int) -> tuple[dict | None, str]:
        """Load and transform a sample.

        Returns:
            the sample and ''; or None and the path, transform and reason of its rejection.
        """
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

    def _story(self, rejected: list[str]) -> str:
        """Return the text on rejected samples, with the last three."""
        return (f'the pipeline of ResamplingMixDataset rejected {len(rejected)} samples in a row, '
                f'the last ones {"; ".join(rejected[-3:])}')

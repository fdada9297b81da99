"""Conversion of what the models return."""
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mmpanseg.results import checks
from mmpanseg.results.checks import to_array
from mmpanseg.results.picture_source import PictureSource
from mmpanseg.results.result import Result

if TYPE_CHECKING:
    from mmdet.structures import DetDataSample
    from mmengine.structures import PixelData


def result_from_sample(sample: 'DetDataSample', classes: Sequence[str], num_things: int,
                       **options: Any) -> Result:
    """Convert a prediction of a model.

    Args:
        sample: with ``pred_panoptic_seg``, ``pred_instances`` and ``pred_sem_seg``, as far as the
            model predicts them, at the size ``ori_shape``.
        classes: class names by label.
        num_things: labels below are things.
        options: keywords of :class:`Result`, except its predictions. ``path`` is by default that
            of the sample.

    Raises:
        ValueError: see :class:`Result`; or the sample has no prediction with masks.
    """
    size = checks.check_size(sample.ori_shape[:2])
    path = options.pop('path', None) or sample.get('img_path')
    options['image'] = PictureSource(size, options.pop('image', None), path,
                                     sample.get('img_orientation'), sample.get('drawn_channels'))
    if 'pred_panoptic_seg' in sample:
        options['panoptic'] = _panoptic(sample.pred_panoptic_seg)
    if 'masks' in sample.get('pred_instances', ()):
        found = sample.pred_instances
        options['instances'] = found.labels, found.scores, found.masks, found.bboxes
    if 'pred_sem_seg' in sample:
        options['semantic'] = to_array(sample.pred_sem_seg.sem_seg)[0]
    if not {'panoptic', 'instances', 'semantic'}.intersection(options):
        raise ValueError('the sample has no pred_panoptic_seg, no pred_sem_seg and no masks in '
                         'pred_instances: predict with a model that segments')
    return Result(size, classes, num_things, **options)


def _panoptic(coded: 'PixelData') -> tuple[np.ndarray, list[dict]]:
    """Map of ids 1, 2, ... and segments of a map in mmdet's coding; void becomes 0."""
    values, infos = to_array(coded.sem_seg)[0], coded.metainfo['segments_info']
    largest = max([0, int(values.max(initial=0)), *(int(info['id']) for info in infos)])
    table = np.zeros(largest + 1, np.int32)
    for number, info in enumerate(infos, 1):
        table[info['id']] = number
    segments = [dict(id=number, label=int(info['label']), score=info.get('score'))
                for number, info in enumerate(infos, 1)]
    return table[values], segments

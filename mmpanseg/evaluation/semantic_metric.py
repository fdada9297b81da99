"""Mean intersection over union as an mmengine metric. Shapes: H, W image size, C classes."""
from collections.abc import Sequence

import numpy as np
from mmengine.logging import MMLogger

from mmpanseg.evaluation.ground_truth import (
    read_ground_truth,
    with_image_orientation,
)
from mmpanseg.evaluation.metric_base import (
    DatasetMetric,
    make_table,
    percent,
    require_keys,
    sample_name,
)
from mmpanseg.evaluation.panoptic_quality import PanopticDataError, index_map
from mmpanseg.registry import METRICS
from mmpanseg.structures.exif_orientation import orient_annotation
from mmpanseg.structures.label_image import (
    IGNORE_INDEX,
    distinct_values,
    label_table,
    read_label_image,
)

# Pixels that are counted at once; limits the memory for large images.
CHUNK = 1 << 22


@METRICS.register_module()
class SemanticMetric(DatasetMetric):
    """mIoU and accuracies in percent of ``pred_sem_seg.sem_seg`` (labels, integer [1, H, W]).

    The scores are ``mIoU``; ``fwIoU``, the mean IoU weighted by the share of each class in the
    ground truth; ``mAcc``, the mean over classes of the share of correct pixels; ``pAcc``, the
    share of correct pixels of all classes. As in the evaluation of the published results, counts
    are summed over all images before the division, ignored pixels are excluded, and means are over
    the classes that occur in the ground truth. Each process stores counts per image, no maps.

    With ``source='panoptic'`` the ground truth is derived from a panoptic annotation, as for
    mIoU_pan (Cheng et al., "Masked-attention Mask Transformer", CVPR 2022, Table I): the pixels of
    all segments of a class have its label, and void is ignored. Crowd segments are included,
    because only their instances are unknown.

    Attributes:
        class_iou: label -> IoU in 0 .. 1 of the last evaluation, of classes in the ground truth.

    Args:
        source: ``'semantic'``: ``seg_map_path`` is an image of class labels; ``'panoptic'``: it is
            a panoptic PNG described by ``segments_info``. Images without annotation
            (``seg_map_path`` is None) are skipped.
        ignore_index: value of ignored pixels; by default ``ignore_index`` of the dataset's
            metainfo, or 255. Only for ``source='semantic'``, like the next two arguments.
        label_map: value in the file -> label, other values are labels themselves; by default
            ``label_map`` of the dataset's metainfo.
        reduce_zero_label: ignore the value 0 and subtract 1 from every other value, as for ADE20K;
            applied before ``label_map``.
        classwise: print one row per class.
        backend_args: arguments of mmengine's file backend for the ground truth.
        collect_device: device on which mmengine's BaseMetric collects results, ``'cpu'`` or
            ``'gpu'``.
        prefix: prefix of the score names; by default ``semantic``.
        collect_dir: folder for the collection of results on the CPU, shared by all processes.

    Raises:
        FileNotFoundError: a ground truth file does not exist.
        ValueError: a ground truth file is damaged, or ``source`` is unknown.
        PanopticDataError: prediction and ground truth differ in size or contain labels that the
            dataset lacks, or no image has a ground truth.
    """

    default_prefix = 'semantic'

    def __init__(self,
                 source: str = 'semantic',
                 ignore_index: int | None = None,
                 label_map: dict[int, int] | None = None,
                 reduce_zero_label: bool = False,
                 classwise: bool = True,
                 backend_args: dict | None = None,
                 collect_device: str = 'cpu',
                 prefix: str | None = None,
                 collect_dir: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        if source not in ('semantic', 'panoptic'):
            raise ValueError(f'source={source!r} must be \'semantic\' or \'panoptic\'')
        self.class_iou: dict[int, float] = {}
        self.source = source
        self.ignore_index = ignore_index
        self.label_map = label_map
        self.reduce_zero_label = reduce_zero_label
        self.classwise = classwise
        self.backend_args = backend_args

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Append None, or nonzero cells of the confusion matrix and counts, to ``results``."""
        num_classes = len(self.metainfo['classes'])
        for sample in data_samples:
            pred = self._prediction(sample, num_classes)
            gt = (self._semantic_ground_truth if self.source == 'semantic'
                  else self._panoptic_ground_truth)(sample)
            if gt is None:
                self.results.append(None)
                continue
            if gt.shape != pred.shape:
                raise PanopticDataError(
                    f'{sample_name(sample)}: pred_sem_seg has {pred.shape[1]}x{pred.shape[0]} '
                    f'pixels, but {sample["seg_map_path"]} has {gt.shape[1]}x{gt.shape[0]} (width '
                    'x height); predict at the size of the original image')
            counts = _confusion(gt.ravel(), pred.ravel(), num_classes)
            cells = np.flatnonzero(counts)
            self.results.append((cells, counts[cells]))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Print the table and return the averages in percent."""
        confusions = [confusion for confusion in results if confusion is not None]
        names = self.metainfo['classes']
        flat = np.zeros(len(names) ** 2, np.int64)
        for cells, counts in confusions:
            flat[cells] += counts
        if not flat.any():
            raise PanopticDataError(
                f'{len(confusions)} of {len(results)} images have a ground truth and none of them '
                'has a labeled pixel, so there is nothing to score against; check seg_map_path '
                'and ignore_index')
        total = flat.reshape(len(names), len(names))
        right, true, predicted = total.diagonal(), total.sum(1), total.sum(0)
        occurs = true > 0
        iou = right / np.maximum(true + predicted - right, 1)
        accuracy = right / np.maximum(true, 1)
        share = true / true.sum()
        scores = dict(mIoU=iou[occurs].mean(), fwIoU=(share * iou).sum(),
                      mAcc=accuracy[occurs].mean(), pAcc=right.sum() / true.sum())

        self.class_iou = dict(zip(np.flatnonzero(occurs).tolist(), iou[occurs].tolist()))
        rows = [['class', 'IoU', 'accuracy', 'share of pixels']]
        if self.classwise:
            for label, name in enumerate(names):
                rows.append([name, percent(iou[label], occurs[label]),
                             percent(accuracy[label], occurs[label]), percent(share[label])])
        rows += [[f'mean (n={occurs.sum()})', percent(scores['mIoU']), percent(scores['mAcc']), ''],
                 ['of all pixels', percent(scores['fwIoU']), percent(scores['pAcc']), '']]
        MMLogger.get_current_instance().info(
            f'Semantic segmentation of {len(confusions)} images\n{make_table(rows)}')
        return {name: 100 * float(score) for name, score in scores.items()}

    def _prediction(self, sample: dict, num_classes: int) -> np.ndarray:
        if 'pred_sem_seg' not in sample:
            raise PanopticDataError(
                f'{sample_name(sample)}: the model returned no pred_sem_seg; set semantic_on=True '
                'in its test_cfg')
        pred = sample['pred_sem_seg']['sem_seg'].squeeze(0).cpu().numpy()
        if pred.size and not (pred.min() >= 0 and pred.max() < num_classes):
            raise PanopticDataError(
                f'{sample_name(sample)}: pred_sem_seg has labels {pred.min()} .. {pred.max()}, '
                f'but the dataset has {num_classes} classes; set num_things_classes and '
                'num_stuff_classes of the model to those of the dataset')
        return pred

    def _panoptic_ground_truth(self, sample: dict) -> np.ndarray | None:
        """Read labels from a panoptic PNG, int32 [H, W], -1 = ignored."""
        segments = read_ground_truth(sample, self.metainfo, self.backend_args)
        if segments is None:
            return None
        labels = np.append(-1, segments.labels).astype(np.int32)
        return labels[index_map(segments, sample_name(sample))]

    def _semantic_ground_truth(self, sample: dict) -> np.ndarray | None:
        """Read labels from an image of class labels, int32 [H, W], -1 = ignored."""
        require_keys(sample, ('seg_map_path', ))
        path = sample['seg_map_path']
        if path is None:
            return None
        values = orient_annotation(read_label_image(path, self.backend_args),
                                 with_image_orientation(sample))
        # concatenated datasets may encode their files differently
        coding = sample.get('label_coding', self.metainfo)
        ignore_index = self.ignore_index
        if ignore_index is None:
            ignore_index = coding.get('ignore_index', IGNORE_INDEX)
        label_map = self.label_map or coding.get('label_map')
        # one lookup table instead of one translation per pixel
        try:
            table = label_table(distinct_values(values), len(self.metainfo['classes']), path,
                                label_map, ignore_index, self.reduce_zero_label)
        except ValueError as error:
            raise PanopticDataError(str(error)) from None
        return table[values]


def _confusion(gt: np.ndarray, pred: np.ndarray, num_classes: int) -> np.ndarray:
    """Count the pixels of each pair of labels.

    Args:
        gt: true labels, integer [n]; negative = ignored.
        pred: predicted labels, integer [n].
        num_classes: C.

    Returns:
        int64 [C * C], index true label * C + predicted label.
    """
    counts = np.zeros(num_classes ** 2, np.int64)
    for start in range(0, gt.size, CHUNK):
        part = gt[start:start + CHUNK]
        counted = part >= 0
        cells = part[counted].astype(np.int64) * num_classes + pred[start:start + CHUNK][counted]
        counts += np.bincount(cells, minlength=counts.size)
    return counts

"""Panoptic quality as an mmengine metric. Shapes: H, W image size, C classes."""
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.fileio import dump
from mmengine.logging import MMLogger

from mmpanseg.evaluation.boundary import check_boundary_width
from mmpanseg.evaluation.boundary_and_size_pq import (
    SIZES,
    expand_stats,
    image_pq_variants,
    nonzero_stats,
    sum_stats,
)
from mmpanseg.evaluation.class_scores import ClassScores
from mmpanseg.evaluation.ground_truth import (
    read_ground_truth,
    to_stored_orientation,
)
from mmpanseg.evaluation.metric_base import (
    DatasetMetric,
    make_table,
    percent,
    require_keys,
    sample_name,
)
from mmpanseg.evaluation.panoptic_quality import (
    PanopticDataError,
    PanopticMap,
    PQStat,
    index_map,
)
from mmpanseg.registry import METRICS
from mmpanseg.structures.label_image import distinct_values
from mmpanseg.structures.panoptic_png import write_panoptic_png
from mmpanseg.structures.result_coding import check_class_count, split_values
from mmpanseg.structures.result_file_names import result_names


@METRICS.register_module()
class PanopticMetric(DatasetMetric):
    """PQ, SQ and RQ in percent, of all classes, things (``_th``) and stuff (``_st``).

    Predictions (``pred_panoptic_seg.sem_seg``, [1, H, W]: label + 1000 x instance number, void =
    number of classes) are compared in memory with the PNG at ``seg_map_path``, whose segments
    ``segments_info`` describes. Per image, only the sums of the classes that occur are stored. The
    scores equal those of the official evaluation: crowd segments, void and images without
    annotation are excluded.

    Attributes:
        class_scores: those of the last evaluation, on the main process; None before. A hook logs
            them, see :class:`mmpanseg.engine.hooks.ClassScoresHook`.

    Args:
        classwise: print one row per class, in addition to all, things and stuff.
        outfile_prefix: also write the predictions in COCO panoptic format, to
            ``{outfile_prefix}.json`` and PNGs in the folder ``{outfile_prefix}/``, named by
            :func:`result_names`. Category ids are read from ``label2cat`` (label -> category id)
            in the dataset's metainfo. Several machines need a shared folder. Each evaluation
            replaces the files of the previous one.
        format_only: write the files without scores, for test sets without ground truth.
        boundary_width: also compute Boundary PQ (``boundary_PQ``, ``boundary_SQ``,
            ``boundary_RQ``), with boundaries of this width relative to the image diagonal, 0.02 in
            published results; see :func:`image_pq_variants`.
        by_size: also compute PQ of small, medium and large segments (``PQ_small``, ...), see
            :func:`image_pq_variants`.
        backend_args: arguments of mmengine's file backend for the ground truth PNGs.
        collect_device: device on which mmengine's BaseMetric collects results, ``'cpu'`` or
            ``'gpu'``.
        prefix: prefix of the score names; by default ``panoptic``.
        collect_dir: folder for the collection of results on the CPU, shared by all processes.

    Raises:
        FileNotFoundError: a ground truth PNG does not exist.
        ValueError: a ground truth PNG is damaged, or ``format_only`` is set without
            ``outfile_prefix``.
        PanopticDataError: prediction and ground truth of an image are inconsistent, no image has a
            ground truth, or two images of the written files share an id.
    """

    default_prefix = 'panoptic'

    def __init__(self,
                 classwise: bool = True,
                 outfile_prefix: str | None = None,
                 format_only: bool = False,
                 boundary_width: float | None = None,
                 by_size: bool = False,
                 backend_args: dict | None = None,
                 collect_device: str = 'cpu',
                 prefix: str | None = None,
                 collect_dir: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        if format_only and outfile_prefix is None:
            raise ValueError('PanopticMetric(format_only=True) needs outfile_prefix, the path '
                             'of the result files')
        if boundary_width is not None:
            check_boundary_width(boundary_width)
        self.classwise = classwise
        self.outfile_prefix = outfile_prefix
        self.format_only = format_only
        self.boundary_width = boundary_width
        self.by_size = by_size
        self.backend_args = backend_args
        self.class_scores: ClassScores | None = None

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Append (statistics or None, written annotation or None) of each sample to ``results``."""
        num_classes = len(self.metainfo['classes'])
        check_class_count(num_classes, 'the dataset')
        for sample in data_samples:
            pred = predicted_segments(sample, num_classes)
            stats = None
            if not self.format_only:
                gt = read_ground_truth(sample, self.metainfo, self.backend_args)
                if gt is not None:
                    stats = nonzero_stats(image_pq_variants(
                        gt, pred, num_classes, sample_name(sample),
                        boundary_width=self.boundary_width, by_size=self.by_size))
            written = None if self.outfile_prefix is None else self._write(sample, pred)
            self.results.append((stats, written))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Write the result file if requested, print the table, return the averages in percent."""
        logger = MMLogger.get_current_instance()
        if self.outfile_prefix is not None:
            self._finish_files([written for _, written in results])
            logger.info(
                f'Panoptic results are in {self.outfile_prefix}.json and {self.outfile_prefix}/')
        if self.format_only:
            return {}

        per_image = [stats for stats, _ in results if stats is not None]
        if not per_image:
            raise PanopticDataError(
                'no image of the dataset has a panoptic annotation, so there is nothing to score '
                'against; use PanopticMetric(format_only=True, outfile_prefix=...) there')
        total = sum_stats(
            expand_stats(stats, len(self.metainfo['classes'])) for stats in per_image)
        is_thing = self._is_thing()
        logger.info(f'Panoptic quality of {len(per_image)} images\n'
                    f'{self._table(total, is_thing)}')
        self.class_scores = self._class_scores(total['all'], is_thing)
        return average_scores(total, is_thing)

    def _is_thing(self) -> np.ndarray:
        """Find the thing classes, bool [C]."""
        if 'thing_classes' not in self.metainfo:
            raise PanopticDataError(
                'the metainfo of the dataset has no thing_classes, so things and stuff cannot be '
                'distinguished; add it with dataset=dict(metainfo=dict(thing_classes=(...)))')
        things = set(self.metainfo['thing_classes'])
        return np.array([name in things for name in self.metainfo['classes']], bool)

    def _write(self, sample: dict, pred: PanopticMap) -> dict:
        """Write a prediction as PNG under a temporary name.

        Returns:
            its annotation, with the path of the image as ``file_name``. :meth:`_finish_files`,
            which knows all images, renames the PNG.
        """
        require_keys(sample, ('img_id', 'img_path'))
        # concatenated datasets may use different category ids
        label2cat = sample.get('label2cat') or self.metainfo.get('label2cat', {})
        absent = [self.metainfo['classes'][label] for label in pred.labels.tolist()
                  if label not in label2cat]
        if absent:
            raise PanopticDataError(
                'to write results in COCO format the dataset\'s metainfo needs label2cat, a dict '
                f'label -> category id, with {absent[0]!r}; add it with '
                'dataset=dict(metainfo=dict(label2cat=...))')
        # ids start at 1: 0 is void in the file
        write_panoptic_png(self._unnamed(sample['img_path']),
                           to_stored_orientation(index_map(pred), sample, self.backend_args))
        return dict(
            image_id=sample['img_id'], file_name=sample['img_path'],
            segments_info=[dict(id=number, category_id=int(label2cat[label]))
                           for number, label in enumerate(pred.labels.tolist(), 1)])

    def _unnamed(self, img_path: str) -> Path:
        """Return the temporary path of the PNG of an image."""
        assert self.outfile_prefix is not None
        digest = hashlib.sha256(str(img_path).encode(errors='surrogateescape')).hexdigest()
        return Path(self.outfile_prefix) / f'unfinished_{digest[:32]}.png'

    def _finish_files(self, annotations: list[dict]) -> None:
        """Rename the PNGs of all processes and write the result JSON."""
        assert self.outfile_prefix is not None
        of_image: dict = {}
        for annotation in annotations:
            other = of_image.setdefault(annotation['image_id'], annotation)
            if other['file_name'] != annotation['file_name']:
                raise PanopticDataError(
                    f'{other["file_name"]} and {annotation["file_name"]} both have image id '
                    f'{annotation["image_id"]}, which must be unique in a result file; evaluate '
                    'datasets with separate ids one by one')
        names = result_names(annotation['file_name'] for annotation in annotations)
        # an image may occur under two ids, which then share one PNG
        for img_path in {annotation['file_name'] for annotation in annotations}:
            path = Path(self.outfile_prefix) / f'{names[img_path]}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            self._unnamed(img_path).replace(path)
        written = [dict(annotation, file_name=f'{names[annotation["file_name"]]}.png')
                   for annotation in of_image.values()]
        dump(dict(annotations=written), f'{self.outfile_prefix}.json')

    def _class_scores(self, stat: PQStat, is_thing: np.ndarray) -> ClassScores:
        *qualities, occurs = stat.per_class()
        pq, sq, rq = (np.where(occurs, 100 * value, np.nan).tolist() for value in qualities)
        return ClassScores(self.prefix or '', self.metainfo['classes'], is_thing.tolist(), pq, sq,
                           rq, stat.tp.tolist(), stat.fp.tolist(), stat.fn.tolist())

    def _table(self, total: dict[str, PQStat], is_thing: np.ndarray) -> str:
        """Format one row per class and group: PQ, SQ, RQ, counts, PQ of the other variants."""
        main = total['all']
        others = {name: stat for name, stat in total.items() if name != 'all'}
        heads = [f'PQ {name}' if name in SIZES else 'Boundary PQ' for name in others]
        rows = [['class', 'kind', 'PQ', 'SQ', 'RQ', 'TP', 'FP', 'FN', *heads]]
        if self.classwise:
            *qualities, occurs = main.per_class()
            others_pq = [stat.per_class() for stat in others.values()]
            for label, name in enumerate(self.metainfo['classes']):
                rows.append([
                    name, 'thing' if is_thing[label] else 'stuff',
                    *(percent(value[label], occurs[label]) for value in qualities),
                    main.tp[label], main.fp[label], main.fn[label],
                    *(percent(pq[label], present[label]) for pq, _, _, present in others_pq)])
        for name, classes in zip(('all', 'things', 'stuff'), class_groups(is_thing).values()):
            average = main.average(classes)
            parts = [stat.average(classes) for stat in others.values()]
            rows.append([f'{name} (n={average["n"]})', '',
                         *(percent(average[key]) for key in ('pq', 'sq', 'rq')),
                         *(count[classes].sum() for count in (main.tp, main.fp, main.fn)),
                         *(percent(part['pq'], part['n'] > 0) for part in parts)])
        return make_table(rows, left=2)


def class_groups(is_thing: np.ndarray) -> dict[str, np.ndarray]:
    """Return the classes of each group of scores: bool [C] by the suffix of their names."""
    return {'': np.ones(len(is_thing), bool), '_th': is_thing, '_st': ~is_thing}


def average_scores(total: dict[str, PQStat], is_thing: np.ndarray) -> dict[str, float]:
    """Average statistics to the scores of :class:`PanopticMetric`, in percent.

    Args:
        total: statistics by variant, see :func:`image_pq_variants`.
        is_thing: bool [C].
    """
    scores: dict[str, float] = {}
    for variant, stat in total.items():
        keys = ('pq', ) if variant in SIZES else ('pq', 'sq', 'rq')
        name = {'all': '{}', 'boundary': 'boundary_{}'}.get(variant, f'{{}}_{variant}')
        for suffix, classes in class_groups(is_thing).items():
            average = stat.average(classes)
            scores.update({name.format(key.upper()) + suffix: 100 * average[key] for key in keys})
    return scores


def predicted_segments(sample: dict, num_classes: int) -> PanopticMap:
    """Convert ``pred_panoptic_seg`` of a sample.

    Args:
        sample: with ``pred_panoptic_seg``.
        num_classes: C, which is also the value of void.

    Raises:
        PanopticDataError: the prediction is missing or contains labels that the dataset lacks.
    """
    if 'pred_panoptic_seg' not in sample:
        raise PanopticDataError(
            f'{sample_name(sample)}: the model returned no pred_panoptic_seg; PanopticMetric '
            'needs a model with a panoptic fusion head')
    pan_map = sample['pred_panoptic_seg']['sem_seg'].squeeze(0).cpu().numpy()
    values = distinct_values(pan_map)
    values = values[values != num_classes]
    labels, numbers = split_values(values)
    wrong = np.flatnonzero((labels >= num_classes) | (numbers < 0))
    if wrong.size:
        raise PanopticDataError(
            f'{sample_name(sample)}: predicted segment {values[wrong[0]]} has label '
            f'{labels[wrong[0]]}, but the dataset has {num_classes} classes; set '
            'num_things_classes and num_stuff_classes of the model to those of the dataset')
    return PanopticMap(pan_map, values, labels, void=num_classes, name='the prediction')

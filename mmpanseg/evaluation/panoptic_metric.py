"""Panoptic quality as an mmengine metric."""
from pathlib import Path
from typing import Optional, Sequence

import numpy as np
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmengine.evaluator import BaseMetric
from mmengine.fileio import dump
from mmengine.logging import MMLogger
from terminaltables import AsciiTable

from mmpanseg.registry import METRICS
from mmpanseg.structures.panoptic_png import read_panoptic_png, write_panoptic_png
from .panoptic_quality import PanopticDataError, PQStat, Segments, image_pq, map_ids


@METRICS.register_module()
class PanopticMetric(BaseMetric):
    """PQ, SQ and RQ in percent, of all classes, things (``_th``) and stuff (``_st``).

    Predictions (``pred_panoptic_seg.sem_seg``, [1, H, W]: label + 1000 * instance id, void =
    number of classes) are scored from memory against the PNG at ``seg_map_path``, whose segments
    ``segments_info`` describes; only the sums of each class are kept, per image. The numbers are
    those of the official evaluation: crowd segments and void count neither for nor against. Images
    without annotation are left out, as there.

    Args:
        classwise: print a row for each class, not only for all, things and stuff.
        outfile_prefix: also write the predictions in COCO panoptic format, to
            ``{outfile_prefix}.json`` and the folder ``{outfile_prefix}/`` of PNGs. Category ids
            come from ``label2cat`` (label -> category id) in the dataset's metainfo. Several
            machines need a shared folder.
        format_only: write the files and score nothing, for test sets without ground truth.
        backend_args: file backend of the ground truth PNGs.
        collect_device, prefix, collect_dir: see mmengine's BaseMetric.

    Raises:
        FileNotFoundError, ValueError: when a ground truth PNG is missing or broken.
        PanopticDataError: when prediction and ground truth of an image do not fit together, or
            there is no ground truth at all.
    """

    default_prefix = 'panoptic'

    def __init__(self,
                 classwise: bool = True,
                 outfile_prefix: Optional[str] = None,
                 format_only: bool = False,
                 backend_args: Optional[dict] = None,
                 collect_device: str = 'cpu',
                 prefix: Optional[str] = None,
                 collect_dir: Optional[str] = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        if format_only and outfile_prefix is None:
            raise ValueError('PanopticMetric(format_only=True) needs outfile_prefix, the path '
                             'where the result files shall be written')
        self.classwise = classwise
        self.outfile_prefix = outfile_prefix
        self.format_only = format_only
        self.backend_args = backend_args

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Add (PQStat or None, written annotation or None) of each sample to ``results``."""
        num_classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            image = f'image {sample.get("img_id")} ({sample.get("img_path")})'
            pred = self._prediction(sample, num_classes, image)
            stat = None
            if not self.format_only:
                gt = self._ground_truth(sample, num_classes, image)
                if gt is not None:
                    stat = image_pq(gt, pred, num_classes, image)
            written = None if self.outfile_prefix is None else self._write(sample, pred)
            self.results.append((stat, written))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Write the result file if wanted, print the table, return the averages in percent."""
        logger = MMLogger.get_current_instance()
        if self.outfile_prefix is not None:
            json_file = f'{self.outfile_prefix}.json'
            dump(dict(annotations=[written for _, written in results]), json_file)
            logger.info(f'Panoptic results are in {json_file} and {self.outfile_prefix}/')
        if self.format_only:
            return {}

        stats = [stat for stat, _ in results if stat is not None]
        if not stats:
            raise PanopticDataError(
                'no image of the data set has a panoptic annotation, so there is nothing to score '
                'against; use PanopticMetric(format_only=True, outfile_prefix=...) there')
        total = PQStat(len(self.dataset_meta['classes']))
        for stat in stats:
            total += stat
        is_thing = np.array([name in self.dataset_meta['thing_classes']
                             for name in self.dataset_meta['classes']], bool)
        averages = {'': total.average(), '_th': total.average(is_thing),
                    '_st': total.average(~is_thing)}
        table = self._table(total, is_thing, averages)
        logger.info(f'Panoptic quality of {len(stats)} images\n{table}')
        return {f'{key.upper()}{suffix}': 100 * average[key]
                for suffix, average in averages.items() for key in ('pq', 'sq', 'rq')}

    def _prediction(self, sample: dict, num_classes: int, image: str) -> Segments:
        if 'pred_panoptic_seg' not in sample:
            raise PanopticDataError(f'{image}: the model gave no pred_panoptic_seg; PanopticMetric '
                                    'needs a model with a panoptic fusion head')
        pan_map = sample['pred_panoptic_seg']['sem_seg'].squeeze(0).cpu().numpy()
        values = map_ids(pan_map)
        values = values[values != num_classes]
        labels = values % INSTANCE_OFFSET
        if labels.size and labels.max() >= num_classes:
            wrong = values[labels >= num_classes][0]
            raise PanopticDataError(
                f'{image}: predicted segment {wrong} has label {wrong % INSTANCE_OFFSET}, but the '
                f'data set has {num_classes} classes; set num_things_classes and '
                'num_stuff_classes of the model to those of the data set')
        return Segments(pan_map, values, labels, void=num_classes, name='the prediction')

    def _ground_truth(self, sample: dict, num_classes: int, image: str) -> Optional[Segments]:
        """Segments of the sample's PNG, None where the image is not annotated."""
        for key in ('seg_map_path', 'segments_info'):
            if key not in sample:
                raise PanopticDataError(
                    f'{image}: the sample has no {key} in its metainfo; the test pipeline must end '
                    f'with mmpanseg.PackPanopticInputs, with {key} among its meta_keys')
        path, infos = sample['seg_map_path'], sample['segments_info']
        if path is None:
            return None
        for info in infos:
            if not 0 <= info['category'] < num_classes:
                raise PanopticDataError(
                    f'{image}: segment {info["id"]} of {path} has label {info["category"]}, but '
                    f'the data set has {num_classes} classes; labels are 0 .. {num_classes - 1}')
        return Segments(read_panoptic_png(path, self.backend_args),
                        [info['id'] for info in infos],
                        [info['category'] for info in infos],
                        [self._is_crowd(info) for info in infos], name=str(path))

    def _is_crowd(self, info: dict) -> bool:
        if 'iscrowd' in info:
            return bool(info['iscrowd'])
        # mmdet's datasets mark a crowd as a segment of a thing class that is no thing.
        name = self.dataset_meta['classes'][info['category']]
        return name in self.dataset_meta['thing_classes'] and not info['is_thing']

    def _write(self, sample: dict, pred: Segments) -> dict:
        """Write a prediction as PNG; returns its annotation for the result JSON."""
        label2cat = self.dataset_meta.get('label2cat')
        if label2cat is None:
            raise PanopticDataError(
                'to write results in COCO format the data set\'s metainfo needs label2cat, a dict '
                'label -> category id; add it with dataset=dict(metainfo=dict(label2cat=...))')
        # Ids in the file count from 1, since 0 means void there.
        ids = np.zeros(pred.ids.max(initial=pred.void) + 1, np.int32)
        ids[pred.ids] = np.arange(1, len(pred.ids) + 1)
        file_name = f'{Path(sample["img_path"]).stem}.png'
        write_panoptic_png(Path(self.outfile_prefix) / file_name, ids[pred.map])
        return dict(
            image_id=sample['img_id'], file_name=file_name,
            segments_info=[dict(id=number, category_id=int(label2cat[label]))
                           for number, label in enumerate(pred.labels.tolist(), 1)])

    def _table(self, total: PQStat, is_thing: np.ndarray, averages: dict) -> str:
        rows = [['class', 'kind', 'PQ', 'SQ', 'RQ', 'TP', 'FP', 'FN']]
        if self.classwise:
            pq, sq, rq, occurs = total.per_class()
            for label, name in enumerate(self.dataset_meta['classes']):
                quality = [f'{100 * value[label]:.1f}' if occurs[label] else '-'
                           for value in (pq, sq, rq)]
                rows.append([name, 'thing' if is_thing[label] else 'stuff', *quality,
                             total.tp[label], total.fp[label], total.fn[label]])
        groups = (('all', '', slice(None)), ('things', '_th', is_thing),
                  ('stuff', '_st', ~is_thing))
        for name, suffix, classes in groups:
            average = averages[suffix]
            rows.append([f'{name} (n={average["n"]})', '',
                         *(f'{100 * average[key]:.1f}' for key in ('pq', 'sq', 'rq')),
                         *(count[classes].sum() for count in (total.tp, total.fp, total.fn))])
        table = AsciiTable([[str(cell) for cell in row] for row in rows])
        table.justify_columns = {column: 'right' for column in range(2, len(rows[0]))}
        return table.table

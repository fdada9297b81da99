"""The fast part of the doctor, before the first step of a training."""
import os.path as osp
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mmcv.transforms import LoadImageFromFile
from mmdet.datasets import MultiImageMixDataset
from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset
from torch.utils.data import Subset

from mmpanseg.datasets.base import SegmentationDataset
from mmpanseg.datasets.instance import InstanceDataset
from mmpanseg.datasets.panoptic import PanopticDataset
from mmpanseg.datasets.semantic import SemanticDataset
from mmpanseg.datasets.transforms import LoadPanopticMap, LoadSemanticMap
from mmpanseg.doctor.pixels.inspect_image import inspect_image
from mmpanseg.doctor.problem import Problem, Severity, problem
from mmpanseg.doctor.source import ImageRecord, Options, Source
from mmpanseg.structures.label_image import IGNORE_INDEX

# checks of images and maps that stop a training when it reads the sample
_STOPPING = frozenset((
    'PAN031', 'PAN032', 'PAN039', 'PAN101', 'PAN102', 'PAN103', 'PAN105', 'PAN109', 'PAN116',
    'PAN201', 'PAN202', 'PAN203', 'PAN204', 'PAN205', 'PAN208', 'PAN209', 'PAN210', 'PAN211',
    'PAN214', 'PAN219', 'PAN220', 'PAN221', 'PAN224'))
# checks whose problems make a model worse without an error
_LOGGED = frozenset(('PAN106', 'PAN107', 'PAN223', 'PAN225', 'PAN226'))
_KINDS = ((PanopticDataset, 'panoptic'), (InstanceDataset, 'instance'),
          (SemanticDataset, 'semantic'))


class FirstSamples(NamedTuple):
    """Samples that a run loads first.

    Attributes:
        split: 'train' or 'val'.
        dataset: the data set, which may be a wrapper of others.
        indices: of the samples.
    """

    split: str
    dataset: Any
    indices: Sequence[int]


def start_problems(samples: Sequence[FirstSamples], seconds: float = 1.5) -> list[Problem]:
    """Find problems of classes and of the first images that a training loads.

    Data sets and loading transforms of other packages are skipped.

    Args:
        samples: of training and validation.
        seconds: no image is read after this time.

    Returns:
        errors and warnings, in the order of the images.
    """
    found = list(_class_problems(samples))
    end = time.monotonic() + seconds
    for split, dataset, indices in samples:
        leaves = list(data_sets_in(dataset))
        seen = set()
        for index in indices:
            if time.monotonic() > end:
                return found
            leaf, number = locate(dataset, index)
            if leaf is None or (id(leaf), number) in seen:
                continue
            seen.add((id(leaf), number))
            place = next(k for k, part in enumerate(leaves, 1) if part is leaf)
            found += _sample_problems(leaf, number, split if place == 1 else f'{split} {place}')
    return found


def data_sets_in(dataset: Any) -> Iterator[Any]:
    """Iterate over a data set or, for a wrapper, over those inside of it."""
    parts = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    for part in parts:
        if part is None:
            yield dataset
        else:
            yield from data_sets_in(part)


def locate(dataset: Any, index: int) -> tuple[SegmentationDataset | None, int]:
    """Find the data set and its index of a sample of a wrapper.

    Args:
        dataset: data set or wrapper.
        index: of the sample.

    Returns:
        None for data sets and wrappers of other packages.
    """
    while not isinstance(dataset, SegmentationDataset):
        if isinstance(dataset, ConcatDataset):
            number, index = dataset._get_ori_dataset_idx(index)
            dataset = dataset.datasets[number]
        elif isinstance(dataset, (RepeatDataset, ClassBalancedDataset)):
            index, dataset = dataset._get_ori_dataset_idx(index), dataset.dataset
        elif isinstance(dataset, MultiImageMixDataset):
            dataset = dataset.dataset
        elif isinstance(dataset, Subset):
            index, dataset = dataset.indices[index], dataset.dataset
        else:
            return None, index
    return dataset, index


def _class_problems(samples: Sequence[FirstSamples]) -> Iterator[Problem]:
    """Compare the classes of the data sets of training and validation that have one kind."""
    first: dict[str, tuple[str, ...]] = {}
    for split, dataset, _ in samples:
        for leaf in data_sets_in(dataset):
            kind, classes = _kind(leaf), tuple(getattr(leaf, 'metainfo', {}).get('classes') or ())
            if kind is None or not classes:
                continue
            known = first.setdefault(kind, classes)
            if classes == known or len(classes) != len(known):
                continue  # another number is refused by comparison with the model
            place = next(k for k, pair in enumerate(zip(classes, known)) if pair[0] != pair[1])
            same = set(classes) == set(known)
            yield problem(
                'PAN412', f'class {place} is {classes[place]!r}, in the training data '
                f'{known[place]!r}', split=split, file=leaf.ann_file or None,
                mend='name the classes in the same order in the metainfo of both' if same else None,
                severity=Severity.ERROR if same else Severity.WARNING)


def _kind(dataset: Any) -> str | None:
    return next((kind for known, kind in _KINDS if isinstance(dataset, known)), None)


def _sample_problems(dataset: SegmentationDataset, index: int, split: str) -> list[Problem]:
    steps = dataset.pipeline.transforms
    loader = next((step for step in steps if isinstance(step, LoadImageFromFile)), None)
    kind = _kind(dataset)
    if loader is None or kind is None:
        return []
    reader = next((step for step in steps if isinstance(step, (LoadPanopticMap, LoadSemanticMap))),
                  None)
    info = dataset.get_data_info(index)
    record = _record(info, dataset, kind, isinstance(
        reader, LoadSemanticMap if kind == 'semantic' else LoadPanopticMap))
    for path, check, prefix in ((record.path, 'PAN031', 'img'),
                                (record.annotation_path, 'PAN032', 'seg')):
        if path and '://' not in path and dataset.backend_args is None and not osp.exists(path):
            return [problem(check, f'{path} does not exist', split=split, image_id=record.image_id,
                            file=record.file_name if prefix == 'img' else record.annotation_name)]
    source = _source(dataset, kind, split, info, loader, reader)
    found = inspect_image(record, source, Options()).problems
    return [p if p.check in _STOPPING else p._replace(severity=Severity.WARNING) for p in found
            if p.check in _LOGGED or p.check in _STOPPING and p.severity == Severity.ERROR]


def _record(info: Mapping, dataset: SegmentationDataset, kind: str, with_map: bool) -> ImageRecord:
    path, prefix = info['img_path'], dataset.data_prefix
    record = ImageRecord(info['img_id'], _name(path, prefix.get('img')), path, info.get('height'),
                         info.get('width'))
    map_path = info.get('seg_map_path')
    if not with_map or not map_path:
        return record
    record = record._replace(annotation_path=map_path,
                             annotation_name=_name(map_path, prefix.get('seg')))
    if kind == 'semantic':
        return record
    segments = [dict(id=s['id'], category_id=s['category'], iscrowd=s['iscrowd'])
                for s in info['segments_info']]
    segments += [dict(id=number, category_id=-1, iscrowd=1) for number in info.get('void_ids', ())]
    return record._replace(segments=tuple(segments), things=frozenset(
        s['category'] for s in info['segments_info'] if s['is_thing']))


def _name(path: str, prefix: str | None) -> str:
    return path.removeprefix(prefix).lstrip('/') if prefix else path


def _source(dataset: SegmentationDataset, kind: str, split: str, info: Mapping,
            loader: LoadImageFromFile, reader: Any) -> Source:
    label_map, ignore_index = info.get('label_map'), info.get('ignore_index', IGNORE_INDEX)
    if isinstance(reader, LoadSemanticMap):
        label_map = reader.label_map or label_map
        ignore_index = ignore_index if reader.ignore_index is None else reader.ignore_index
    return Source(
        split, kind, getattr(dataset, 'ann_file', ''), dataset.data_prefix.get('img') or '',
        dataset.data_prefix.get('seg') or '', classes=tuple(dataset.metainfo['classes']),
        label_map=label_map, ignore_index=ignore_index,
        reduce_zero_label=getattr(reader, 'reduce_zero_label', False),
        upright_annotations=getattr(loader, 'upright_annotations', False),
        void_unselected=getattr(dataset, 'void_unselected', False), color_type=loader.color_type,
        test_mode=dataset.test_mode, backend_args=dataset.backend_args)

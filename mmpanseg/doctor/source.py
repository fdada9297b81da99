"""What the doctor checks: a data set of a config, or files that the user names."""
import copy
import os.path as osp
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import mmdet.datasets
from mmengine.config import Config

from mmpanseg.datasets.instance import InstanceDataset
from mmpanseg.datasets.panoptic import PanopticDataset
from mmpanseg.datasets.semantic import SemanticDataset
from mmpanseg.registry import DATASETS
from mmpanseg.structures.image_channels import CHANNELS
from mmpanseg.structures.label_image import IGNORE_INDEX

SPLITS = ('train', 'val', 'test')
# mmdet's panoptic data set is one of its instance data sets
_KINDS: dict[str, tuple[type, ...]] = {
    'panoptic': (PanopticDataset, mmdet.datasets.CocoPanopticDataset),
    'instance': (InstanceDataset, mmdet.datasets.CocoDataset),
    'semantic': (SemanticDataset, mmdet.datasets.BaseSegDataset)}


@dataclass(frozen=True)
class Source:
    """One data set, as training or scoring reads it. It can be sent to other processes.

    Attributes:
        split: 'train', 'val' or 'test'; 'train 2' for the second one of several data sets.
        kind: 'panoptic', 'instance' or 'semantic'.
        ann_file: path of the JSON; '' for semantic.
        img_prefix: folder of images.
        seg_prefix: folder of PNGs or label maps; '' for none.
        classes: names by label; () if the JSON defines them.
        thing_classes: names of things, if they are given.
        stuff_classes: names of stuff, if they are given.
        label_map: value in label maps -> label or ``ignore_index``; None for the values themselves.
        ignore_index: value of ignored pixels in label maps.
        reduce_zero_label: 0 is ignored, and 1 subtracted from every other value of label maps.
        img_suffix: ending of images of semantic data; None for any.
        seg_suffix: ending of label maps of semantic data.
        upright_annotations: annotations of rotated images are upright, see
            :func:`mmpanseg.structures.exif_orientation.annotation_orientation`.
        void_unselected: segments of other categories are void, not an error.
        color_type: ``color_type`` of the transform that loads images; 'channels' for LoadChannels.
        channels_first: arrays of ``.npy`` and ``.npz`` are [C, H, W].
        min_size: ``filter_cfg.min_size``.
        filter_empty: ``filter_cfg.filter_empty_gt``.
        num_queries: of the model, in training; None if it is unknown.
        queries_for_things: stuff needs none of these queries.
        num_classes: of the model; None if it is unknown.
        stride: stride of the masks that are learned.
        test_mode: without filters.
        backend_args: of mmengine's file backend.
    """

    split: str
    kind: str
    ann_file: str = ''
    img_prefix: str = ''
    seg_prefix: str = ''
    classes: tuple[str, ...] = ()
    thing_classes: tuple[str, ...] | None = None
    stuff_classes: tuple[str, ...] | None = None
    label_map: dict[int, int] | None = None
    ignore_index: int = IGNORE_INDEX
    reduce_zero_label: bool = False
    img_suffix: str | None = None
    seg_suffix: str = '.png'
    upright_annotations: bool = False
    void_unselected: bool = False
    color_type: str = 'color'
    channels_first: bool = False
    min_size: int = 0
    filter_empty: bool = False
    num_queries: int | None = None
    queries_for_things: bool = False
    num_classes: int | None = None
    stride: int = 4
    test_mode: bool = False
    backend_args: dict[str, Any] | None = field(default=None)

    @property
    def role(self) -> str:
        """The split without number: 'train', 'val' or 'test'."""
        return self.split.partition(' ')[0]


class ImageRecord(NamedTuple):
    """One image of a source, as far as its lists are usable.

    Attributes:
        image_id: id in the JSON; the name for semantic data.
        file_name: name in the JSON, or below the folder of images.
        path: path of the image.
        height: height in the JSON; None if it is unknown or unusable.
        width: width in the JSON; None if it is unknown or unusable.
        annotation_path: path of the PNG or label map; None without one.
        annotation_name: name of the PNG or label map, as the source lists it; None without one.
        segments: ``segments_info`` of a panoptic JSON: dicts with an integer ``id``; other keys
            are as they are in the JSON, of any type.
        annotations: annotations of an instance JSON: dicts as they are in the JSON.
        things: category ids that are things.
    """

    image_id: int | str
    file_name: str
    path: str
    height: int | None = None
    width: int | None = None
    annotation_path: str | None = None
    annotation_name: str | None = None
    segments: tuple[dict, ...] = ()
    annotations: tuple[dict, ...] = ()
    things: frozenset[int] = frozenset()


class Options(NamedTuple):
    """What a check of an image needs besides the source.

    Attributes:
        max_pixels: largest number of pixels of an image; None for any.
    """

    max_pixels: int | None = None


class TargetError(ValueError):
    """A config or a file names no data that can be checked; the text is one line."""


def sources_of_config(cfg: Config, splits: Sequence[str] = SPLITS) -> list[Source]:
    """Find the data sets of a config, also inside of wrappers.

    Args:
        cfg: the config, with ``train_dataloader``, ``val_dataloader``, ``test_dataloader``.
        splits: which of them. A test data set equal to the one for validation is left out.

    Returns:
        the sources: train, val, test.

    Raises:
        TargetError: a data set cannot be built, or is none that the doctor knows; the config has
            none.
    """
    found: list[Source] = []
    for split in SPLITS:
        data = (cfg.get(f'{split}_dataloader') or {}).get('dataset')
        if not data or split not in splits:
            continue
        inner = list(_inner_data_sets(data))
        names = [split, *(f'{split} {number}' for number in range(2, len(inner) + 1))]
        model = _model_facts(cfg.get('model') or {}, split)
        sources = [_source(name, options, model) for name, options in zip(names, inner)]
        if split != 'test' or [_files(source) for source in sources] != [
                _files(source) for source in found if source.role == 'val']:
            found += sources
    if not found:
        raise TargetError('the config has no data set in '
                          + ', '.join(f'{split}_dataloader' for split in splits))
    return found


def same_data(one: Source, other: Source) -> bool:
    """Return whether two sources read the same files."""
    return _files(one) == _files(other)


def _files(source: Source) -> tuple[str, ...]:
    return tuple(osp.normpath(path) if path else '' for path in (
        source.ann_file, source.img_prefix, source.seg_prefix))


def _inner_data_sets(dataset: dict) -> Iterator[dict]:
    """Yield the configs of the data sets inside of wrappers (concatenated, repeated, ...)."""
    if 'datasets' in dataset:
        for inner in dataset['datasets']:
            yield from _inner_data_sets(inner)
    elif 'dataset' in dataset:
        yield from _inner_data_sets(dataset['dataset'])
    else:
        yield dataset


def _model_facts(model: Mapping, split: str) -> dict[str, Any]:
    """Number of queries and of classes, as far as a config of a model has them."""
    head = model.get('panoptic_head') or {}
    queries = head.get('num_queries')
    if split == 'train':
        queries = head.get('num_train_queries') or queries
    # stuff of Panoptic SegFormer has queries of its own
    things_only = 'PanopticSegFormer' in str(head.get('type')) and head.get(
        'stuff_mask_decoder', True) is not None
    counts = [model.get(key, head.get(key)) for key in ('num_things_classes', 'num_stuff_classes')]
    return dict(
        num_queries=queries if isinstance(queries, int) else None,
        queries_for_things=things_only,
        num_classes=sum(counts) if all(isinstance(count, int) for count in counts) else None)


def _source(split: str, options: Mapping, model: dict[str, Any]) -> Source:
    kept = {key: value for key, value in options.items() if key != 'indices'}
    try:
        data = DATASETS.build(dict(copy.deepcopy(kept), pipeline=[], lazy_init=True))
    except Exception as error:  # a data set of any package
        text = ' '.join(str(error).split())
        raise TargetError(f'the data set of {split}_dataloader cannot be built: {text}') from error
    meta = {key: data.metainfo.get(key) for key in ('classes', 'thing_classes', 'stuff_classes')}
    names = {key: None if value is None else tuple(map(str, value)) for key, value in meta.items()}
    classes = names['classes']
    if classes is None:
        classes = (*(names['thing_classes'] or ()), *(names['stuff_classes'] or ()))
    loaders = {step.get('type'): step for step in options.get('pipeline') or ()
               if isinstance(step, Mapping)}
    every = _step(loaders, 'LoadChannels')
    image = every or _step(loaders, 'LoadImageFromFile')
    labels = _step(loaders, 'LoadSemanticMap')
    coding = {key: labels.get(key) if labels.get(key) is not None else data.metainfo.get(key)
              for key in ('label_map', 'ignore_index')}
    filters = data.filter_cfg or {}
    return Source(
        split=split, kind=_kind(data, split), ann_file=data.ann_file or '',
        img_prefix=data.data_prefix.get('img') or data.data_prefix.get('img_path') or '',
        seg_prefix=data.data_prefix.get('seg') or data.data_prefix.get('seg_map_path') or '',
        classes=classes, thing_classes=names['thing_classes'],
        stuff_classes=names['stuff_classes'], label_map=coding['label_map'],
        ignore_index=IGNORE_INDEX if coding['ignore_index'] is None else coding['ignore_index'],
        reduce_zero_label=bool(labels.get('reduce_zero_label')),
        img_suffix=getattr(data, 'img_suffix', None),
        seg_suffix=getattr(data, 'seg_map_suffix', None) or '.png',
        upright_annotations=bool(image.get('upright_annotations')),
        void_unselected=bool(getattr(data, 'void_unselected', False)),
        color_type=CHANNELS if every else image.get('color_type') or 'color',
        channels_first=bool(every.get('channels_first')), min_size=filters.get('min_size') or 0,
        filter_empty=bool(filters.get('filter_empty_gt')), test_mode=bool(data.test_mode),
        backend_args=getattr(data, 'backend_args', None), **model)


def _step(loaders: Mapping, name: str) -> Mapping:
    """Options of a transform, with or without the scope in its type."""
    return next((step for kind, step in loaders.items()
                 if str(kind).rpartition('.')[2] == name), {})


def _kind(data: Any, split: str) -> str:
    for kind, types in _KINDS.items():
        if isinstance(data, types):
            return kind
    raise TargetError(
        f'the data set of {split}_dataloader is a {type(data).__name__}; the doctor knows '
        'PanopticDataset, InstanceDataset, SemanticDataset and those of mmdet for COCO')

"""The data set of a split as its loader builds it, and the data sets inside of its wrappers."""
from typing import Any, NamedTuple

from mmdet.datasets import BaseDetDataset
from mmengine.config import Config
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.registry import init_default_scope

from mmpanseg.datasets.instance import InstanceDataset
from mmpanseg.datasets.metainfo import common_metainfo
from mmpanseg.datasets.panoptic import PanopticDataset, PanopticInstanceDataset
from mmpanseg.datasets.semantic import SemanticDataset
from mmpanseg.engine.command_line import UsageError, user_mistakes
from mmpanseg.registry import DATASETS
from mmpanseg.visualization.color import Color, generate_palette

SPLITS = ('train', 'val', 'test')


class Place(NamedTuple):
    """An image of a data set.

    Attributes:
        number: its index in the loader's data set.
        dataset: the data set without wrappers that reads its files.
        inner: its index there.
    """

    number: int
    dataset: BaseDetDataset
    inner: int


class Classes(NamedTuple):
    """Classes of a data set.

    Attributes:
        names: by label, things first.
        palette: RGB color of each.
        num_things: number of things, which are drawn in a shade per instance.
        has_void: whether pixels without a segment are void, and not the background of instances.
    """

    names: tuple[str, ...]
    palette: list[Color]
    num_things: int
    has_void: bool


def build_dataset(cfg: Config, split: str) -> Any:
    """Build the data set of a split as training and tests do.

    Args:
        cfg: the config.
        split: one of :data:`SPLITS`.

    Raises:
        UsageError: the config has no such split, or the data set cannot be built.
    """
    loader = cfg.get(f'{split}_dataloader')
    if not loader or not loader.get('dataset'):
        known = [name for name in SPLITS if (cfg.get(f'{name}_dataloader') or {}).get('dataset')]
        raise UsageError(
            f'the config has no {split}_dataloader with a dataset: ' + (
                f'it has {", ".join(known)} (--split)' if known else
                'give a config that trains or tests a model'))
    # names without a prefix are mmdet's, as in a run
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    with user_mistakes():
        try:
            dataset = DATASETS.build(loader['dataset'])
            dataset.full_init()
        except ValueError as error:
            # mmengine joins the entries of all images
            if 'need at least one array' in str(error):
                raise UsageError(f'{split}_dataloader.dataset has no image') from error
            raise
    return dataset


def locate(dataset: Any, index: int) -> Place:
    """Find an image inside wrappers.

    Args:
        dataset: data set of a loader; concatenated, repeated, class-balanced, mixed or plain.
        index: index in it.
    """
    place, inner = dataset, index
    while hasattr(place, 'dataset') or hasattr(place, 'datasets'):
        if isinstance(place, ConcatDataset):
            number, inner = place._get_ori_dataset_idx(inner)
            place = place.datasets[number]
            continue
        if hasattr(place, '_get_ori_dataset_idx'):
            inner = place._get_ori_dataset_idx(inner)
        place = place.dataset
    return Place(index, place, inner)


def distinct_places(dataset: Any) -> list[Place]:
    """List the images of a data set, those that wrappers repeat once."""
    indices = range(len(dataset))
    if isinstance(dataset, RepeatDataset):
        indices = range(len(dataset.dataset))
    places: dict[tuple[int, int], Place] = {}
    for index in indices:
        place = locate(dataset, index)
        places.setdefault((id(place.dataset), place.inner), place)
    return list(places.values())


def kind_of(dataset: BaseDetDataset) -> str:
    """Return ``panoptic``, ``instance``, ``semantic``, or ``other`` for data sets of mmdet."""
    if isinstance(dataset, PanopticInstanceDataset):
        return 'instance'
    if isinstance(dataset, PanopticDataset):
        return 'panoptic'
    if isinstance(dataset, InstanceDataset):
        return 'instance'
    return 'semantic' if isinstance(dataset, SemanticDataset) else 'other'


def classes_of(dataset: Any) -> Classes:
    """Return the classes of a loader's data set.

    Raises:
        UsageError: concatenated data sets have different classes.
    """
    with user_mistakes():
        meta = common_metainfo(dataset.metainfo) or {}
    names = tuple(meta.get('classes') or ())
    kind = kind_of(locate(dataset, 0).dataset)
    num_things = len(names)
    if kind == 'semantic':
        num_things = 0
    elif 'thing_classes' in meta:
        num_things = len(meta['thing_classes'])
    palette = meta.get('palette')
    if not isinstance(palette, (list, tuple)) or len(palette) < len(names):
        palette = generate_palette(len(names))
    colors = [(int(red), int(green), int(blue)) for red, green, blue in palette]
    return Classes(names, colors, num_things, kind != 'instance' and not (
        kind == 'other' and num_things == len(names)))

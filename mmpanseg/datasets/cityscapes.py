"""Cityscapes (Cordts et al., CVPR 2016): street scenes with 8 thing and 11 stuff classes."""
from typing import NamedTuple

from mmpanseg.datasets.panoptic import PanopticDataset, PanopticInstanceDataset
from mmpanseg.datasets.semantic import SemanticDataset
from mmpanseg.registry import DATASETS


class CityscapesLabel(NamedTuple):
    """An evaluated class.

    Args:
        id: id in the original files.
        name: name.
        is_thing: thing or stuff.
        color: RGB, 0 .. 255.
    """

    id: int
    name: str
    is_thing: bool
    color: tuple[int, int, int]


# in the order of the train ids 0 .. 18
LABELS = tuple(CityscapesLabel(*row) for row in (
    (7, 'road', False, (128, 64, 128)),
    (8, 'sidewalk', False, (244, 35, 232)),
    (11, 'building', False, (70, 70, 70)),
    (12, 'wall', False, (102, 102, 156)),
    (13, 'fence', False, (190, 153, 153)),
    (17, 'pole', False, (153, 153, 153)),
    (19, 'traffic light', False, (250, 170, 30)),
    (20, 'traffic sign', False, (220, 220, 0)),
    (21, 'vegetation', False, (107, 142, 35)),
    (22, 'terrain', False, (152, 251, 152)),
    (23, 'sky', False, (70, 130, 180)),
    (24, 'person', True, (220, 20, 60)),
    (25, 'rider', True, (255, 0, 0)),
    (26, 'car', True, (0, 0, 142)),
    (27, 'truck', True, (0, 0, 70)),
    (28, 'bus', True, (0, 60, 100)),
    (31, 'train', True, (0, 80, 100)),
    (32, 'motorcycle', True, (0, 0, 230)),
    (33, 'bicycle', True, (119, 11, 32))))

THINGS = tuple(label for label in LABELS if label.is_thing)
STUFF = tuple(label for label in LABELS if not label.is_thing)


@DATASETS.register_module()
class CityscapesPanopticDataset(PanopticDataset):
    """Files that ``tools/dataset_converters/cityscapes.py`` writes; things first."""

    METAINFO = dict(
        thing_classes=tuple(label.name for label in THINGS),
        stuff_classes=tuple(label.name for label in STUFF),
        classes=tuple(label.name for label in THINGS + STUFF),
        palette=[label.color for label in THINGS + STUFF])


@DATASETS.register_module()
class CityscapesInstanceDataset(PanopticInstanceDataset):
    """The 8 thing classes of the panoptic annotation; stuff and groups are void."""

    METAINFO = dict(
        thing_classes=tuple(label.name for label in THINGS),
        stuff_classes=(),
        classes=tuple(label.name for label in THINGS),
        palette=[label.color for label in THINGS])


@DATASETS.register_module()
class CityscapesSemanticDataset(SemanticDataset):
    """The 19 classes in the order of their train ids, read from ``*_gtFine_labelIds.png``.

    Ids that are not evaluated are ignored. To read the train ids that Cityscapes' own scripts
    write, set ``seg_map_suffix='_gtFine_labelTrainIds.png'`` and ``metainfo=dict(label_map=None)``.
    """

    METAINFO = dict(
        classes=tuple(label.name for label in LABELS),
        palette=[label.color for label in LABELS],
        ignore_index=255,
        # -1 (license plate) is 255 in 8 bits
        label_map={value: 255 for value in range(34)} | {
            label.id: train_id for train_id, label in enumerate(LABELS)})

    def __init__(self, *args, img_suffix: str = '_leftImg8bit.png',
                 seg_map_suffix: str = '_gtFine_labelIds.png', **kwargs) -> None:
        super().__init__(*args, img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)

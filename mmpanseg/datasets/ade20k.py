"""ADE20K (Zhou et al., CVPR 2017) as released for the challenges: 100 things and 50 stuff."""
from mmdet.datasets import ade20k as mmdet_ade20k

from mmpanseg.datasets.panoptic import PanopticDataset, PanopticInstanceDataset
from mmpanseg.datasets.semantic import SemanticDataset
from mmpanseg.registry import DATASETS

# Index of each thing among the 150 classes of the semantic files, from 0. In this order they are
# the classes 1 .. 100 of the instance files.
THING_PLACES = (
    7, 8, 10, 12, 14, 15, 18, 19, 20, 22, 23, 24, 27, 30, 31, 32, 33, 35, 36, 37, 38, 39, 41, 42,
    43, 44, 45, 47, 49, 50, 53, 55, 56, 57, 58, 62, 64, 65, 66, 67, 69, 70, 71, 72, 73, 74, 75, 76,
    78, 80, 81, 82, 83, 85, 86, 87, 88, 89, 90, 92, 93, 95, 97, 98, 102, 103, 104, 107, 108, 110,
    111, 112, 115, 116, 118, 119, 120, 121, 123, 124, 125, 126, 127, 129, 130, 132, 133, 134, 135,
    136, 137, 138, 139, 142, 143, 144, 146, 147, 148, 149)
STUFF_PLACES = tuple(place for place in range(150) if place not in THING_PLACES)

# index among the 150 classes of each label of the panoptic data set, things first
PANOPTIC_ORDER = THING_PLACES + STUFF_PLACES

_NAMES = mmdet_ade20k.ADE20KPanopticDataset.METAINFO
_THINGS, _STUFF = tuple(_NAMES['thing_classes']), tuple(_NAMES['stuff_classes'])
# mmdet's palette is in the order of the semantic files
_PALETTE = [mmdet_ade20k.ADE_PALETTE[place] for place in PANOPTIC_ORDER]

# names in the order of the semantic files
CLASSES = tuple(name for _, name in sorted(zip(PANOPTIC_ORDER, _THINGS + _STUFF)))


@DATASETS.register_module()
class ADE20KPanopticDataset(PanopticDataset):
    """Files that ``tools/dataset_converters/ade20k.py`` writes; things first."""

    METAINFO = dict(thing_classes=_THINGS, stuff_classes=_STUFF, classes=_THINGS + _STUFF,
                    palette=_PALETTE)


@DATASETS.register_module()
class ADE20KInstanceDataset(PanopticInstanceDataset):
    """The 100 thing classes of the panoptic annotation; stuff is void."""

    METAINFO = dict(thing_classes=_THINGS, stuff_classes=(), classes=_THINGS,
                    palette=_PALETTE[:len(_THINGS)])


@DATASETS.register_module()
class ADE20KSemanticDataset(SemanticDataset):
    """The 150 classes in the order of the files: value 0 is other, value k is class k - 1."""

    METAINFO = dict(
        classes=CLASSES,
        palette=list(mmdet_ade20k.ADE_PALETTE),
        ignore_index=255,
        label_map={0: 255} | {place + 1: place for place in range(150)})

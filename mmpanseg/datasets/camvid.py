"""CamVid (Brostow et al. 2009): street photographs with 11 classes.

``tools/dataset_converters/camvid.py`` writes the files of the three data sets in this module.
"""
from mmpanseg.datasets.instance import InstanceDataset
from mmpanseg.datasets.panoptic import PanopticDataset
from mmpanseg.datasets.semantic import SemanticDataset
from mmpanseg.registry import DATASETS

# name, is a thing, color of each label in the raw files; the label after the last is void
RAW_CLASSES = (
    ('Sky', False, (128, 180, 230)), ('Building', False, (150, 80, 80)),
    ('Pole', False, (190, 190, 130)), ('Road', False, (128, 64, 128)),
    ('Pavement', False, (220, 120, 200)), ('Tree', False, (90, 140, 40)),
    ('SignSymbol', True, (220, 200, 40)), ('Fence', False, (110, 90, 160)),
    ('Car', True, (40, 60, 190)), ('Pedestrian', True, (220, 40, 70)),
    ('Bicyclist', True, (20, 150, 160)))
UNLABELED = len(RAW_CLASSES)

_THINGS, _STUFF = ([entry for entry in RAW_CLASSES if entry[1] == thing] for thing in (True, False))


@DATASETS.register_module()
class CamVidPanopticDataset(PanopticDataset):
    """4 thing and 7 stuff classes, things first."""

    METAINFO = dict(
        thing_classes=tuple(name for name, *_ in _THINGS),
        stuff_classes=tuple(name for name, *_ in _STUFF),
        palette=[color for *_, color in _THINGS + _STUFF])


@DATASETS.register_module()
class CamVidInstanceDataset(InstanceDataset):
    """The 4 thing classes, in COCO instance format."""

    METAINFO = dict(
        classes=tuple(name for name, *_ in _THINGS), palette=[color for *_, color in _THINGS])


@DATASETS.register_module()
class CamVidSemanticDataset(SemanticDataset):
    """All 11 classes in the order of the label maps; 11 in a file is void."""

    METAINFO = dict(
        classes=tuple(name for name, *_ in RAW_CLASSES),
        palette=[color for *_, color in RAW_CLASSES], ignore_index=UNLABELED)

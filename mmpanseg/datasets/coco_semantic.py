"""COCO's things and stuff as semantic classes."""
from mmdet.datasets import CocoSegDataset

from mmpanseg.registry import DATASETS
from .coco_panoptic import CocoPanopticDataset
from .semantic import SemanticDataset

# values of things that COCO named but never annotated (street sign, hat, shoe, ...)
_UNUSED = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)


@DATASETS.register_module()
class CocoSemanticDataset(SemanticDataset):
    """The 133 classes of COCO panoptic, read from maps of labels with 255 = void.

    ``tools/dataset_converters/coco_semantic.py`` writes the maps from the panoptic annotation. The
    labels have the order of :class:`CocoPanopticDataset`: 80 things, then 53 stuff classes.
    """

    METAINFO = dict(
        classes=CocoPanopticDataset.METAINFO['classes'],
        palette=CocoPanopticDataset.METAINFO['palette'],
        ignore_index=255)


@DATASETS.register_module()
class CocoStuffDataset(SemanticDataset):
    """COCO-Stuff (Caesar et al., CVPR 2018): 80 things and 91 stuff classes.

    Reads the PNGs of its download, ``stuffthingmaps/{train,val}2017/*.png``, with values 0 .. 181
    and 255 = void.
    """

    METAINFO = dict(
        classes=tuple(CocoSegDataset.METAINFO['classes']),
        palette=CocoSegDataset.METAINFO['palette'],
        ignore_index=255,
        label_map={value: 255 for value in _UNUSED} | {
            value: label for label, value in enumerate(
                value for value in range(182) if value not in _UNUSED)})

"""COCO: panoptic and semantic annotations."""
from mmdet.datasets import CocoPanopticDataset as MMDetCocoPanopticDataset
from mmdet.datasets import CocoSegDataset

from mmpanseg.datasets.panoptic import PanopticDataset
from mmpanseg.datasets.semantic import SemanticDataset
from mmpanseg.registry import DATASETS

# ids of the categories in COCO's files by label; the lists of test images contain only some
CATEGORY_IDS = (
    *(i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)),
    92, 93, 95, 100, 107, 109, 112, 118, 119, 122, 125, 128, 130, 133, 138, 141, 144, 145, 147, 148,
    149, 151, 154, 155, 156, 159, 161, 166, 168, 171, 175, 176, 177, 178, 180, 181,
    *range(184, 201))


@DATASETS.register_module()
class CocoPanopticDataset(PanopticDataset):
    """COCO panoptic (Kirillov et al., "Panoptic Segmentation") in mmdet's class order and colors.

    Standard layout under ``data_root``: annotations/panoptic_{train,val}2017.json,
    annotations/panoptic_{train,val}2017/*.png, {train,val}2017/*.jpg.
    """

    METAINFO = dict(
        thing_classes=tuple(MMDetCocoPanopticDataset.METAINFO['thing_classes']),
        stuff_classes=tuple(MMDetCocoPanopticDataset.METAINFO['stuff_classes']),
        classes=tuple(MMDetCocoPanopticDataset.METAINFO['classes']),
        palette=MMDetCocoPanopticDataset.METAINFO['palette'],
        label2cat=dict(enumerate(CATEGORY_IDS)))


# values of things that COCO defines but never annotated (street sign, hat, shoe, ...)
_UNUSED = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)


@DATASETS.register_module()
class CocoSemanticDataset(SemanticDataset):
    """The 133 classes of COCO panoptic in label maps, where 255 is void.

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

"""COCO panoptic, 80 thing and 53 stuff classes."""
from mmdet.datasets import CocoPanopticDataset as MMDetCocoPanopticDataset

from mmpanseg.registry import DATASETS
from .panoptic import PanopticDataset

# ids of the categories in COCO's files, by label; its lists of test images do not have them all
CATEGORY_IDS = (
    *(i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)),
    92, 93, 95, 100, 107, 109, 112, 118, 119, 122, 125, 128, 130, 133, 138, 141, 144, 145, 147, 148,
    149, 151, 154, 155, 156, 159, 161, 166, 168, 171, 175, 176, 177, 178, 180, 181,
    *range(184, 201))


@DATASETS.register_module()
class CocoPanopticDataset(PanopticDataset):
    """COCO panoptic (Kirillov et al., "Panoptic Segmentation") in mmdet's class order and colours.

    Standard layout under ``data_root``: annotations/panoptic_{train,val}2017.json,
    annotations/panoptic_{train,val}2017/*.png, {train,val}2017/*.jpg.
    """

    METAINFO = dict(
        thing_classes=tuple(MMDetCocoPanopticDataset.METAINFO['thing_classes']),
        stuff_classes=tuple(MMDetCocoPanopticDataset.METAINFO['stuff_classes']),
        classes=tuple(MMDetCocoPanopticDataset.METAINFO['classes']),
        palette=MMDetCocoPanopticDataset.METAINFO['palette'],
        label2cat=dict(enumerate(CATEGORY_IDS)))

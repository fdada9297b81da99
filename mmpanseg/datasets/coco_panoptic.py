"""COCO panoptic, 80 thing and 53 stuff classes."""
from mmdet.datasets import CocoPanopticDataset as MMDetCocoPanopticDataset

from mmpanseg.registry import DATASETS
from .panoptic import PanopticDataset


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
        palette=MMDetCocoPanopticDataset.METAINFO['palette'])

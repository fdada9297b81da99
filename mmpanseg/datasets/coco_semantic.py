"""COCO's things and stuff as semantic classes."""
from mmpanseg.registry import DATASETS
from .coco_panoptic import CocoPanopticDataset
from .semantic import SemanticDataset


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

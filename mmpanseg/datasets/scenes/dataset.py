"""Synthetic scenes, the data of the demo."""
from mmpanseg.datasets.panoptic import PanopticDataset
from mmpanseg.datasets.scenes.generator import PALETTE, STUFF_CLASSES, THING_CLASSES
from mmpanseg.registry import DATASETS


@DATASETS.register_module()
class ScenesDataset(PanopticDataset):
    """Pictures drawn by ``python -m mmpanseg.datasets.scenes``, 6 thing and 6 stuff classes."""

    METAINFO = dict(
        thing_classes=THING_CLASSES,
        stuff_classes=STUFF_CLASSES,
        palette=list(PALETTE))

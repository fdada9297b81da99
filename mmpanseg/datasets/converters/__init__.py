"""From the official downloads of datasets to the files that this library reads."""
from .ade20k import convert_ade20k
from .camvid import convert_camvid
from .cityscapes import convert_cityscapes
from .coco import convert_coco_semantic
from .mapillary import convert_mapillary

__all__ = [
    'convert_ade20k', 'convert_camvid', 'convert_cityscapes', 'convert_coco_semantic',
    'convert_mapillary']

"""Converters of the official downloads of data sets to the formats of this library."""
from mmpanseg.datasets.converters.ade20k import convert_ade20k
from mmpanseg.datasets.converters.camvid import convert_camvid
from mmpanseg.datasets.converters.cityscapes import convert_cityscapes
from mmpanseg.datasets.converters.coco import convert_coco_semantic
from mmpanseg.datasets.converters.mapillary import convert_mapillary

__all__ = [
    'convert_ade20k', 'convert_camvid', 'convert_cityscapes', 'convert_coco_semantic',
    'convert_mapillary']

"""All checks of the doctor. An id is stable: it is never renamed and never used again."""
from enum import IntEnum
from typing import NamedTuple


class Severity(IntEnum):
    """How bad a problem is; a larger value is worse.

    ERROR: training or scoring fails, or uses wrong data. WARNING: it runs, and the data are
    probably not what their author meant. NOTE: worth knowing.
    """

    NOTE = 1
    WARNING = 2
    ERROR = 3


class Check(NamedTuple):
    """A check.

    Attributes:
        id: stable id.
        severity: severity of its problems, unless a case is milder.
        title: what is wrong, as the title of a group of problems.
        mend: how to mend it.
        fast: needs no content of images and maps.
        fixable: ``--fix`` repairs it, because there is one right answer.
    """

    id: str
    severity: Severity
    title: str
    mend: str
    fast: bool = False
    fixable: bool = False


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

# PAN001 .. PAN099: JSON files, folders and file names, without reading images
_LISTS = (
    ('PAN001', _E, 'Annotation file is missing or cannot be read',
     'correct the path, or its permissions'),
    ('PAN002', _E, 'Annotation file is no valid JSON', 'write or download it again'),
    ('PAN003', _E, 'Annotation file is not encoded in UTF-8', 'save it as UTF-8'),
    ('PAN004', _W, 'NaN or Infinity in a JSON', 'write a number, or leave the key out'),
    ('PAN005', _E, 'JSON has another form than expected',
     'write lists of dicts "images", "annotations" and "categories", as COCO does'),
    ('PAN006', _E, 'Entry lacks a required key', 'add the key'),
    ('PAN007', _E, 'Value has a wrong type', 'correct the value'),
    ('PAN008', _E, 'Value is out of range', 'correct the value'),
    ('PAN009', _E, 'Two images have one id', 'give every image an id of its own'),
    ('PAN010', _E, 'Image has two annotations', 'merge them, or remove one'),
    ('PAN011', _W, 'Two images list the same file', 'remove one of them'),
    ('PAN012', _E, 'Two categories have one id', 'give every category an id of its own'),
    ('PAN013', _E, 'Two categories have one name', 'merge or rename them'),
    ('PAN014', _E, 'Category has no isthing', 'add "isthing": 1 for things, 0 for stuff'),
    ('PAN015', _E, 'isthing of a category differs from the config',
     'correct isthing, or move the class between thing_classes and stuff_classes'),
    ('PAN016', _E, 'Class of the config is no category of the JSON',
     'use the same names in config and JSON'),
    ('PAN017', _E, 'Segments have a category that the config does not select',
     'add the category to the classes of the config, or set void_unselected=True'),
    ('PAN018', _N, 'Categories have another order than the classes of the config',
     'none is needed: names decide, not the order'),
    ('PAN019', _E, 'Category id without category', 'add the category, or correct the id'),
    ('PAN020', _E, 'Annotation belongs to no image', 'add the image, or remove the annotation'),
    ('PAN021', _W, 'Image has no annotation',
     'annotate it, or remove it from "images"; all of its pixels are void'),
    ('PAN022', _E, 'Two segments of an image have one id',
     'give every segment of the image an id of its own'),
    ('PAN023', _E, '0 is used as id of a segment',
     'use ids from 1: pixels of the value 0 are void'),
    ('PAN024', _E, 'Id of a segment does not fit into a PNG',
     'use ids in 1 .. 16777215 (id = R + 256 G + 65536 B)'),
    ('PAN025', _W, 'Stuff class has several segments in an image',
     'merge them into one segment; official scores count stuff once for an image'),
    ('PAN026', _N, 'Crowds, which training ignores',
     'set "iscrowd": 0 where the segment is a single object'),
    ('PAN027', _W, 'Backslash in a file name', 'write / between folders'),
    ('PAN028', _E, 'File exists with other capitals only',
     'write the name as it is on disk, or rename the file'),
    ('PAN029', _N, 'Ending of a file name has capitals',
     'none is needed here; other tools may look for lower case only'),
    ('PAN030', _W, 'File name leads out of its folder', 'write it relative to the folder'),
    ('PAN031', _E, 'Image file is missing', 'copy it to the folder, or correct file_name'),
    ('PAN032', _E, 'Map file is missing', 'copy it to the folder, or correct file_name'),
    ('PAN033', _N, 'Image files that nothing lists', 'add them, or move them elsewhere'),
    ('PAN034', _N, 'Map files that nothing lists', 'add them, or move them elsewhere'),
    ('PAN035', _E, 'No image to use', 'correct paths and filter_cfg'),
    ('PAN036', _E, 'Two annotations have one id', 'give every annotation an id of its own'),
    ('PAN037', _W, 'File name has characters that not every system reads alike',
     'rename the file with plain letters'),
    ('PAN038', _E, 'file_name is no name of a file', 'write the name of the file'),
    ('PAN039', _E, 'Image has no label map',
     'write it, or correct data_prefix.seg and seg_map_suffix'),
    ('PAN040', _W, 'Label map belongs to no image', 'add the image, or move the map elsewhere'),
    ('PAN041', _E, 'Two files have one name without their endings',
     'rename one of them, or choose the ending (img_suffix, seg_map_suffix)'),
    ('PAN042', _W, 'Image files with another ending are left out',
     'convert them, or correct img_suffix'),
    ('PAN043', _E, 'Folder is missing', 'correct data_root or data_prefix'),
    ('PAN044', _E, 'No classes are given', 'name them in metainfo.classes of the data set'),
    ('PAN045', _E, 'Classes of the config are inconsistent', 'correct metainfo of the data set'),
    ('PAN046', _W, 'Names of categories differ in capitals or spaces only',
     'merge or rename them'),
    ('PAN047', _N, 'Optional keys are missing',
     'none is needed here; other tools require area, bbox and iscrowd'),
    ('PAN048', _W, 'Image has no segment', 'annotate it, or remove it'),
    ('PAN049', _E, 'Two annotations list the same PNG', 'give every image a PNG of its own'),
    ('PAN050', _E, 'PNG of an annotation is the image itself',
     'correct file_name of the annotation, or the folder of the maps'),
    ('PAN051', _N, 'Images that training leaves out', 'none, if this is what filter_cfg is for'),
    ('PAN052', _N, 'Categories that the config does not select',
     'add them to the classes of the config, if they shall be learned'),
    ('PAN053', _W, 'Stuff is marked as crowd', 'set "iscrowd": 0; crowds are things'),
    ('PAN054', _E, 'Folder cannot be listed', 'correct its permissions'))

# PAN100 .. PAN199: image files
_IMAGES = (
    ('PAN101', _E, 'Image file is empty', 'copy or download it again'),
    ('PAN102', _E, 'Image file is damaged or truncated', 'copy or download it again'),
    ('PAN103', _E, 'Image file is no image', 'replace it by an image'),
    ('PAN104', _W, 'Ending of an image file belongs to another format', 'rename or convert it'),
    ('PAN105', _E, 'Size of the image differs from the JSON',
     'write the size of the file, or use the image that was annotated'),
    ('PAN106', _W, 'Image is rotated by EXIF and its annotation is not',
     'store image and annotation upright, without EXIF orientation'),
    ('PAN107', _W, 'Annotation is upright and its image is rotated by EXIF',
     'store the image upright, without EXIF orientation'),
    ('PAN108', _W, 'Image has more pixels than --max-pixels',
     'scale it down, or cut it into tiles'),
    ('PAN109', _E, 'Image is too large to be read',
     'cut it into tiles, or set MMPANSEG_MAX_IMAGE_PIXELS'),
    ('PAN110', _N, 'Image has transparency, which is ignored', 'store it as RGB'),
    ('PAN111', _N, 'Image file has several frames, of which the first is used',
     'store one image per file'),
    ('PAN112', _W, 'Image has more than 8 bits',
     'load it unchanged and set mean and std to its range, or convert it'),
    ('PAN113', _N, 'Image is gray and repeated to three channels', 'none is needed'),
    ('PAN114', _W, 'Image has a color space that programs read differently', 'store it as RGB'),
    ('PAN115', _W, 'All pixels of an image are equal', 'replace or remove it'),
    ('PAN116', _E, 'Image file cannot be opened', 'correct its permissions'),
    ('PAN117', _W, 'Rotation by EXIF keeps the size, so nothing shows whether the annotation fits',
     'store the image upright, without EXIF orientation'))

# PAN200 .. PAN299: PNGs of segments, label maps
_MAPS = (
    ('PAN201', _E, 'Map file is empty', 'write or copy it again'),
    ('PAN202', _E, 'Map file is damaged or truncated', 'write or copy it again'),
    ('PAN203', _E, 'Map file is no PNG', 'write it as PNG, without loss'),
    ('PAN204', _E, 'PNG is gray, and ids are color-coded',
     'encode ids as colors (id = R + 256 G + 65536 B)'),
    ('PAN205', _E, 'PNG has 16 bits, and ids are color-coded in 8',
     'encode ids as colors of 8 bits (id = R + 256 G + 65536 B)'),
    ('PAN206', _N, 'PNG has transparency, which is ignored', 'write it as RGB'),
    ('PAN207', _W, 'PNG has a palette, whose colors are read as ids', 'write it as RGB'),
    ('PAN208', _E, 'Size of the map differs from the image',
     'write the map in the size of the image'),
    ('PAN209', _E, 'Map has width and height of the image exchanged', 'rotate the map'),
    ('PAN210', _E, 'Map has ids that the JSON does not list',
     'add the segments to segments_info, or make their pixels 0'),
    ('PAN211', _E, 'Segment has no pixel in the map', 'remove it from segments_info'),
    ('PAN212', _W, 'Area of a segment differs from its pixels', 'write the number of its pixels'),
    ('PAN213', _W, 'Box of a segment differs from its pixels', 'write [x, y, width, height]'),
    ('PAN214', _E, 'Map is interpolated: ids on seams only',
     'resize maps with nearest neighbor, from the original'),
    ('PAN215', _W, 'Thing consists of pieces far apart', 'give every object a segment of its own'),
    ('PAN216', _W, 'Most of an image is void', 'annotate it, or remove it'),
    ('PAN217', _N, 'Large part of an image is crowd', 'annotate the objects one by one'),
    ('PAN218', _N, 'Segment is smaller than a pixel of the masks that are learned',
     'train on larger images or tiles, or remove it'),
    ('PAN219', _E, 'Map file cannot be opened', 'correct its permissions'),
    ('PAN220', _E, 'Values of a label map are no labels',
     'set label_map or ignore_index, or correct the map'),
    ('PAN221', _E, 'Label map has several channels', 'write one channel, the class of each pixel'),
    ('PAN222', _E, 'Label maps have 0 and 255 only, and 255 is ignored',
     'set metainfo=dict(label_map={0: 0, 255: 1})'),
    ('PAN223', _W, 'Every pixel of a label map is ignored', 'annotate the image, or remove it'),
    ('PAN224', _E, 'Label map has no integers', 'write integers of 8 or 16 bits'),
    ('PAN225', _E, 'Map is stored with loss', 'write it as PNG from the original'),
    ('PAN226', _W, 'Value of a label map occurs on seams only: it is interpolated',
     'resize maps with nearest neighbor, from the original'))

# PAN300 .. PAN399: objects of an instance JSON
_OBJECTS = (
    ('PAN301', _E, 'Object has no segmentation, or one of a wrong type',
     'write polygons or run lengths'),
    ('PAN302', _E, 'Polygon has fewer than 3 points', 'remove the polygon'),
    ('PAN303', _E, 'Coordinates of a polygon are no pairs of numbers',
     'write [x1, y1, x2, y2, ...]'),
    ('PAN304', _W, 'Polygon is partly outside its image', 'clip it to the image'),
    ('PAN305', _E, 'Polygon is completely outside its image', 'remove it, or correct image_id'),
    ('PAN306', _E, 'Run lengths have another size than the image',
     'encode the mask in the size of the image'),
    ('PAN307', _E, 'Run lengths are invalid', 'encode the mask again'),
    ('PAN308', _E, 'Mask of an object is empty', 'remove the object'),
    ('PAN309', _W, 'Area of an object differs from its mask', 'write the area of the mask'),
    ('PAN310', _W, 'Box of an object differs from its mask', 'write [x, y, width, height]'),
    ('PAN311', _W, 'Object is narrower or lower than a pixel, and left out',
     'remove it, or annotate larger images'),
    ('PAN312', _E, 'Coordinates are shares of the image, not pixels',
     'multiply them by width and height'),
    ('PAN313', _W, 'Two objects have the same mask and category', 'remove one of them'),
    ('PAN314', _W, 'Crowd has polygons', 'write crowds as run lengths, or set "iscrowd": 0'),
    ('PAN315', _W, 'Object consists of pieces far apart', 'give every object its own annotation'),
    ('PAN316', _N, 'Object is smaller than a pixel of the masks that are learned',
     'train on larger images or tiles, or remove it'),
    ('PAN317', _N, 'Object is marked "ignore", and left out', 'none, if this is meant'),
    ('PAN318', _W, 'Polygon crosses itself', 'draw it again'),
    ('PAN319', _N, 'Large part of an image is crowd', 'annotate the objects one by one'))

# PAN400 .. PAN499: the whole set, several splits
_SETS = (
    ('PAN401', _W, 'File of the same name in two splits',
     'keep it in one of them, or rename it if it is another image'),
    ('PAN402', _E, 'Same image in training and validation', 'remove it from one of them'),
    ('PAN403', _N, 'Images of training and validation look alike',
     'split by scene or video (frames of one video belong together)'),
    ('PAN404', _W, 'Training and validation read the same data', 'split them'),
    ('PAN405', _W, 'Same image twice in one split', 'remove one of them'),
    ('PAN406', _W, 'Class has no segment', 'annotate some, or remove the class'),
    ('PAN407', _N, 'Class has few segments in training', 'annotate more'),
    ('PAN408', _N, 'Share of a class differs between training and validation',
     'split again, stratified or at random'),
    ('PAN409', _W, 'Image has more segments than the model has queries',
     'set a larger num_queries'),
    ('PAN410', _W, 'Images have different numbers of channels', 'convert them to one'),
    ('PAN411', _W, 'Images have different bit depths', 'convert them to one'),
    ('PAN412', _E, 'Sources of one config have different classes',
     'name the same classes in the metainfo of each'),
    ('PAN413', _E, 'Model and data set have different numbers of classes',
     'set num_things_classes and num_stuff_classes of the model'),
    ('PAN499', _E, 'Check of an image failed', 'look at the file; the other images were checked'))

# whose answer is unique, at least in some cases, see mmpanseg.doctor.fixes.fix
_FIXABLE = frozenset((
    'PAN003', 'PAN009', 'PAN010', 'PAN012', 'PAN013', 'PAN014', 'PAN022', 'PAN027', 'PAN028',
    'PAN036', 'PAN047', 'PAN105', 'PAN204', 'PAN205', 'PAN206', 'PAN207', 'PAN210', 'PAN211',
    'PAN212', 'PAN213', 'PAN221', 'PAN302', 'PAN308', 'PAN309', 'PAN310'))
# checks of the whole set that need pixels
_SLOW = frozenset(('PAN402', 'PAN403', 'PAN405', 'PAN410', 'PAN411', 'PAN499'))


def _checks() -> dict[str, Check]:
    rows = (*_LISTS, *_IMAGES, *_MAPS, *_OBJECTS, *_SETS)
    return {row[0]: Check(*row, fast=row[0][3] in '04' and row[0] not in _SLOW,
                          fixable=row[0] in _FIXABLE) for row in rows}


CHECKS: dict[str, Check] = _checks()

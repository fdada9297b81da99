"""Kinds of errors of a panoptic prediction, of pixels and of segments: names, titles and colors.

:mod:`mmpanseg.evaluation.segment_errors` defines when a segment or a pixel is of a kind.
"""
from enum import IntEnum


class PixelKind(IntEnum):
    """What a prediction has at a pixel, the values of an error map."""

    RIGHT = 0
    WRONG_CLASS = 1
    MISSED = 2
    INVENTED = 3
    MERGED = 4
    SPLIT = 5
    BOUNDARY = 6
    VOID = 7


PIXEL_TITLES = {
    PixelKind.RIGHT: 'right',
    PixelKind.WRONG_CLASS: 'wrong class',
    PixelKind.MISSED: 'missed',
    PixelKind.INVENTED: 'invented',
    PixelKind.MERGED: 'merged',
    PixelKind.SPLIT: 'split',
    PixelKind.BOUNDARY: 'boundary only',
    PixelKind.VOID: 'not scored'}

# RGB, 0-255. For full color vision, protanopia, deuteranopia and tritanopia, the closest two have
# a distance of 0.12 in OKLab, and each has contrast to a white and to a dark page
PIXEL_COLORS = {
    PixelKind.RIGHT: (167, 167, 167),
    PixelKind.WRONG_CLASS: (221, 33, 177),
    PixelKind.MISSED: (168, 40, 0),
    PixelKind.INVENTED: (33, 149, 254),
    PixelKind.MERGED: (153, 133, 26),
    PixelKind.SPLIT: (85, 213, 255),
    PixelKind.BOUNDARY: (253, 163, 74),
    PixelKind.VOID: (83, 91, 98)}

# of ground truth and predicted segments; also keys in JSON files
SEGMENT_TITLES = {
    'matched': 'matched',
    'wrong_class': 'wrong class',
    'merged': 'merged with others',
    'split': 'split into several',
    'near_miss': 'near miss, IoU 0.25 to 0.5',
    'lost_in_fusion': 'lost in the fusion',
    'missed': 'missed',
    'invented': 'invented',
    'duplicate': 'second segment on an object',
    'ignored': 'not scored'}
SEGMENT_KINDS = tuple(SEGMENT_TITLES)

# kinds that a segment without an error has
NO_ERRORS = frozenset(('matched', 'ignored'))

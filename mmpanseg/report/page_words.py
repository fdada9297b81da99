"""What the report's page says about each kind of error: a title, and what would repair it."""
from typing import NamedTuple

from mmpanseg.structures.error_kinds import PIXEL_COLORS, PixelKind


class Words(NamedTuple):
    """Words for a kind of error.

    Attributes:
        title: a few words.
        advice: what it means, and what usually repairs it; a sentence or two.
    """

    title: str
    advice: str


# keys are mmpanseg.structures.error_kinds.SEGMENT_KINDS
KIND_WORDS = {
    'matched': Words('found', 'The right class, and an IoU above 0.5.'),
    'wrong_class': Words(
        'wrong class', 'The mask is good (IoU above 0.5), the class is not. More examples of these '
        'classes or a larger weight of the classification loss help, or a check of the labels; the '
        'confusion matrix names the classes.'),
    'merged': Words(
        'merged with others', 'One predicted segment covers several objects of the class. Larger '
        'images, crops of crowded scenes and more queries help to tell neighbors apart.'),
    'split': Words(
        'split into several', 'Several predicted segments share one object, often where something '
        'is in front of it. Larger crops and longer training help.'),
    'near_miss': Words(
        'near miss, IoU 0.25 to 0.5', 'The right class at the right place, with a bad outline. '
        'Better borders help: larger images, a finer pixel decoder, a larger weight of the mask '
        'losses.'),
    'lost_in_fusion': Words(
        'lost in the fusion', 'A query had the segment, but the fusion rule lost it. Other '
        'thresholds can bring it back without training.'),
    'missed': Words(
        'missed', 'No predicted segment of the class fits. See the sizes of what is missed, and '
        'its classes: rare classes need more examples, small segments larger images.'),
    'invented': Words(
        'invented', 'A predicted segment where the ground truth has no such segment. Higher score '
        'thresholds remove some; look also for objects that the ground truth lacks.'),
    'duplicate': Words(
        'second segment on an object', 'The object has a match, and this segment lies on it, too. '
        'A stricter overlap threshold of the fusion removes it.'),
    'ignored': Words('not scored', 'Crowds, and predictions mostly on void.'),
}

# keys are mmpanseg.analysis.lost_segments.REASONS
REASON_WORDS = {
    'lost_in_fusion': Words(
        'a query had it, the fusion lost it', 'Try other thresholds: no training is needed.'),
    'no_object': Words(
        'a query had it, and says "no object"', 'The mask and the class are there, the network is '
        'not sure: longer training or a larger weight of the classes in the loss. No threshold '
        'changes it.'),
    'other_class': Words(
        'a query had its mask, with another class', 'Masks are found, classification fails.'),
    'nearly_proposed': Words(
        'a query had a similar mask (IoU 0.25 to 0.5)', 'Masks are nearly found: borders, '
        'resolution.'),
    'never_proposed': Words(
        'no query had a similar mask', 'The network does not see it: more data like it, larger '
        'images, more queries, longer training.'),
}

# the color of a kind is that of its pixels in error maps
_PIXELS = {
    'wrong_class': PixelKind.WRONG_CLASS, 'merged': PixelKind.MERGED, 'split': PixelKind.SPLIT,
    'near_miss': PixelKind.BOUNDARY, 'missed': PixelKind.MISSED, 'invented': PixelKind.INVENTED,
    'duplicate': PixelKind.SPLIT, 'other_class': PixelKind.WRONG_CLASS,
    'nearly_proposed': PixelKind.BOUNDARY, 'never_proposed': PixelKind.MISSED}


def kind_color(kind: str) -> str:
    """Return the color of a kind of segments or of a reason.

    Args:
        kind: key of :data:`KIND_WORDS` or :data:`REASON_WORDS`.

    Returns:
        as :func:`mmpanseg.pages.charts.color_style` takes it.
    """
    # a duplicate is beside split segments in charts, and striped there
    return (pixel_color(_PIXELS[kind]) if kind in _PIXELS and kind != 'duplicate'
            else f'kind-{kind}')


def pixel_color(kind: PixelKind) -> str:
    """Return the color of a kind of pixels, see :func:`kind_color`."""
    if kind in (PixelKind.RIGHT, PixelKind.VOID):
        return f'pixel-{kind.name.lower()}'
    return f'rgb({" ".join(map(str, PIXEL_COLORS[kind]))})'


def kind_css() -> str:
    """Return the CSS classes of kinds, for what the script draws: ``mark-`` and ``pixel-``."""
    marks = {f'mark-{kind}': pixel for kind, pixel in _PIXELS.items()}
    marks |= {f'pixel-{kind.name.lower()}': kind for kind in PixelKind}
    colors = {name: pixel_color(kind) for name, kind in marks.items()}
    split = pixel_color(PixelKind.SPLIT)
    colors['kind-duplicate'] = (f'repeating-linear-gradient(135deg, {split} 0 4px, '
                                'rgb(0 70 110) 4px 6px)')
    return '\n'.join(f'.{name} {{ --color: {color}; }}' for name, color in colors.items()
                     if not color.startswith('pixel-'))

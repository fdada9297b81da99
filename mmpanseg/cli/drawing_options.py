"""Options of drawings, checked before the first image is predicted."""
from collections.abc import Mapping, Sequence
from typing import Any

import click
import numpy as np

from mmpanseg.apis.truth_maps import TruthMaps
from mmpanseg.engine.command_line import UsageError, one_line
from mmpanseg.evaluation.panoptic_quality import PanopticMap
from mmpanseg.visualization import draw_panoptic, find_palette
from mmpanseg.visualization.fonts import FontError, chosen_faces
from mmpanseg.visualization.styles import TRANSPARENT


def check_drawing(options: Mapping[str, Any], has_videos: bool, truth: str | None) -> None:
    """Check options of :meth:`Result.plot`, except the palette.

    Args:
        options: of a command line.
        has_videos: whether a source is a video.
        truth: file of the ground truth, if given.

    Raises:
        click.UsageError: options contradict each other or the sources.
        UsageError: a number is out of its range, or the font is not usable.
    """
    if options['style'] == TRANSPARENT and (has_videos or truth):
        raise click.UsageError('--style transparent: ' + (
            'videos have no transparency' if has_videos else
            'pictures beside a ground truth have none') + '; choose another style')
    if truth and has_videos:
        raise click.UsageError('--truth lists images, and a source is a video')
    try:
        chosen_faces(options['font'])
        draw_panoptic(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), int), [], [], min_side=0,
                      label_size=options['label_size'])
    except FontError as error:
        raise UsageError(one_line(error)) from error
    except ValueError as error:
        raise UsageError(f'--label-size: {one_line(error)}') from error


def check_colors(palette: str | None, classes: Sequence[str]) -> None:
    """Raise a UsageError if a palette does not suit the classes of a model."""
    try:
        find_palette(palette, classes, len(classes))
    except ValueError as error:
        raise UsageError(f'--palette: {one_line(error)}') from error


def open_truth(path: str, classes: Sequence[str]) -> TruthMaps:
    """Open the ground truth; a UsageError says what is wrong with the file."""
    try:
        return TruthMaps(path, classes)
    except (OSError, ValueError) as error:
        raise UsageError(f'--truth: {one_line(error)}') from error


def find_truth(truth: TruthMaps, path: str, size: tuple[int, int]) -> PanopticMap:
    """Read the ground truth of an image.

    Raises:
        ValueError: there is none, or it is damaged.
        OSError: it cannot be read.
    """
    found = truth.find(path, size)
    if found is None:
        raise ValueError(f'{path} has no ground truth in {truth.path}: no image there has its name '
                         'and size, or no annotation has its id')
    return found

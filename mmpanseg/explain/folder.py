"""Writes an explanation to a folder: page, sheets, numbers."""
import re
from pathlib import Path

import numpy as np

from mmpanseg.explain.explanation import Explanation
from mmpanseg.explain.page import SegmentFiles, page_body, page_style
from mmpanseg.explain.sheet import draw_heads, draw_sheet
from mmpanseg.pages.own_folder import OwnFiles, open_folder
from mmpanseg.pages.page import write_page
from mmpanseg.results import Result
from mmpanseg.utils import strict_json
from mmpanseg.utils.atomic_files import result_file
from mmpanseg.visualization import DrawnSegment, draw_panoptic, generate_palette
from mmpanseg.visualization.color import Color
from mmpanseg.visualization.panoptic import segment_colors
from mmpanseg.visualization.picture_files import write_picture
from mmpanseg.visualization.text import report_missing

PAGE, RECORD, OVERVIEW = 'index.html', 'explanation.json', 'overview.png'
OWN_FILES = OwnFiles('explain', RECORD, [
    re.compile(rf'{re.escape(PAGE)}|{re.escape(OVERVIEW)}|segment_\d{{3,}}(_heads)?\.png')])


def write_explanation(explanation: Explanation, folder: str | Path) -> Path:
    """Write ``index.html``, ``explanation.json``, an overview and a sheet for each segment.

    Args:
        explanation: of an image.
        folder: where to write; files of an earlier explanation are replaced.

    Returns:
        the path of the page.

    Raises:
        ForeignFilesError: the folder contains files of others.
        FileWriteError: a file cannot be written.
        ValueError: the image is not in memory, and cannot be read again.
    """
    folder = Path(folder)
    open_folder(folder, OWN_FILES)
    report_missing([*explanation.result.classes, Path(explanation.name).name])
    image = explanation.result.image
    if image is None:
        raise ValueError('the explained image has no pixels: give an array or a path')
    colors = colors_of(explanation.result)
    write_picture(folder / OVERVIEW, draw_overview(explanation.result, image, colors))
    files = []
    for one in explanation.explained:
        color, stem = colors[one.segment.id], f'segment_{one.segment.id:03d}'
        sheet = draw_sheet(explanation, one, image, color)
        write_picture(folder / f'{stem}.png', sheet)
        heads = draw_heads(one, image, color)
        if heads is not None:
            write_picture(folder / f'{stem}_heads.png', heads)
        files.append(SegmentFiles(f'{stem}.png', (sheet.shape[1], sheet.shape[0]),
                                  None if heads is None else f'{stem}_heads.png'))
    with result_file(folder / RECORD) as part:
        part.write_text(strict_json.dumps(explanation.to_dict(), indent=1) + '\n',
                        encoding='utf-8')
    title = f'{Path(explanation.name).name}: segments explained'
    write_page(folder / PAGE, title, page_body(explanation, files, colors, OVERVIEW),
               styles=[page_style()])
    return folder / PAGE


def colors_of(result: Result) -> dict[int, Color]:
    """Return the color of each segment by its number, as in pictures of the result."""
    assert result.panoptic_map is not None  # only panoptic results are explained
    palette = result.palette or generate_palette(len(result.classes))
    return segment_colors(result.panoptic_map, _drawn(result), palette)


def draw_overview(result: Result, image: np.ndarray, colors: dict[int, Color]) -> np.ndarray:
    """Draw all segments with their numbers and classes.

    Args:
        result: with panoptic segments.
        image: uint8 RGB [H, W, 3].
        colors: of :func:`colors_of`.

    Returns:
        uint8 RGB.
    """
    assert result.panoptic_map is not None
    segments = result.panoptic_segments or []
    # one name for each segment in place of one for each class
    drawn = [DrawnSegment(segment.id, number, segment.is_thing)
             for number, segment in enumerate(segments)]
    return draw_panoptic(
        image, result.panoptic_map, drawn, [f'{one.id} {one.name}' for one in segments],
        [colors[one.id] for one in segments], colors=colors)


def _drawn(result: Result) -> list[DrawnSegment]:
    return [DrawnSegment(one.id, one.label, one.is_thing, one.score)
            for one in result.panoptic_segments or ()]

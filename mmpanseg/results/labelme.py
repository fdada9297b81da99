"""Results in the format of LabelMe."""
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmpanseg.results.result import Result


def to_labelme(result: 'Result', image_path: str) -> dict[str, Any]:
    """Convert a result to the outlines of its segments, as LabelMe 5 reads them.

    Args:
        result: of an image.
        image_path: path of the image, relative to the folder of the file.

    Returns:
        content of the JSON file: one shape for each connected part, with the id of its segment as
        ``group_id``.
    """
    return dict(
        version='5.0.0', flags={}, imageData=None, imagePath=image_path,
        imageHeight=result.size[0], imageWidth=result.size[1],
        shapes=[dict(label=segment.name, points=polygon.tolist(), shape_type='polygon',
                     group_id=segment.id, flags={}, score=segment.score)
                for segment in result.segments for polygon in segment.polygons()])

"""Checks of the sizes and orientations of an image and its annotation. H, W: image size."""
from mmpanseg.doctor.pixels.image_checks import ImageFacts
from mmpanseg.doctor.pixels.image_problems import ImageProblems, size_text
from mmpanseg.structures.exif_orientation import oriented_size


def check_listed_size(facts: ImageFacts, found: ImageProblems) -> bool:
    """Compare the size of an image with the JSON.

    Returns:
        whether annotations of the size in the JSON fit the image.
    """
    listed = _listed(found)
    if listed is None or listed in (facts.stored, oriented_size(facts.stored, facts.exif)):
        return True
    hint = ', with width and height exchanged' if listed[::-1] == facts.stored else ''
    found.add('PAN105', f'the image is {size_text(facts.stored)}, the JSON says '
              f'{size_text(listed)}{hint}')
    return False


def check_object_orientation(facts: ImageFacts, found: ImageProblems) -> None:
    """Check whether the objects of an instance JSON are turned as their image is."""
    listed = _listed(found)
    if found.record.annotations and listed is not None:
        _check_orientation(facts, listed, 'the JSON', found)


def check_map_size(shape: tuple[int, int], facts: ImageFacts | None, found: ImageProblems
                   ) -> bool:
    """Compare the size of a map with its image, or with the JSON if the image is unreadable.

    Args:
        shape: (H, W) of the map.
        facts: of the image; None if it cannot be read.
        found: receives the problems.

    Returns:
        whether it fits.
    """
    listed = _listed(found)
    if facts is None:
        fits = listed is None or shape in (listed, listed[::-1])
        if listed is not None and not fits:
            found.add_to_map('PAN208', f'the map is {size_text(shape)}, the JSON says '
                             f'{size_text(listed)}')
        return fits
    if shape in (facts.stored, facts.upright):
        _check_orientation(facts, shape, 'the map', found)
        return True
    turned = shape == facts.upright[::-1]
    why = ''
    if facts.exif != facts.orientation and shape == oriented_size(facts.stored, facts.exif):
        why = (f'; color_type={found.source.color_type!r} ignores the EXIF orientation of the '
               'image')
    found.add_to_map('PAN209' if turned else 'PAN208', f'the map is {size_text(shape)}, its image '
                     f'{size_text(facts.upright)}{why}')
    return False


def _check_orientation(facts: ImageFacts, size: tuple[int, int], what: str,
                       found: ImageProblems) -> None:
    """Check an annotation whose size is the stored or the upright one of the image."""
    if facts.orientation == 1 or size not in (facts.stored, facts.upright):
        return
    turn = f'EXIF orientation {facts.orientation} turns the image'
    if facts.stored == facts.upright:
        if not found.source.upright_annotations:
            found.add('PAN117', f'{turn}, and its annotation with it; both sizes are '
                      f'{size_text(size)}', mend='store the image upright, without EXIF '
                      'orientation, or set upright_annotations=True of LoadImageFromFile if the '
                      'labeling tool turned the images')
    elif size == facts.stored:
        found.add('PAN106', f'{turn} to {size_text(facts.upright)}, and {what} has '
                  f'{size_text(size)}: training turns both, other programs may turn one')
    else:
        found.add('PAN107', f'{turn} to {size_text(facts.upright)}, the size of {what}; programs '
                  'that ignore EXIF read another image')


def _listed(found: ImageProblems) -> tuple[int, int] | None:
    record = found.record
    if record.height is None or record.width is None:
        return None
    return record.height, record.width

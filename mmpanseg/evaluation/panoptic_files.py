"""Ground truth and result files in COCO panoptic format: reading, checking and pairing.

Images and categories are paired by their ids, as in the official evaluation. If a result file also
lists file names (``images``) or category names (``categories``), these must agree with the ground
truth; otherwise the names determine the pairs.
"""
import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from mmpanseg.datasets.annotation_file import TEXT, check_kind
from mmpanseg.evaluation.panoptic_quality import PanopticDataError
from mmpanseg.structures.panoptic_png import MAX_SEGMENT_ID

PathLike = str | Path


def load_panoptic_json(path: PathLike, keys: Sequence[str]) -> dict:
    """Read a JSON in COCO panoptic format and check every annotation.

    Args:
        path: path of the JSON.
        keys: required keys at the top level.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not JSON.
        PanopticDataError: an entry is missing or has the wrong type; the text names it.
    """
    with open(path, encoding='utf-8') as file:
        try:
            content = json.load(file)
        except ValueError as error:
            raise ValueError(f'{path} is not valid JSON ({error}); write it again') from error
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing:
        raise PanopticDataError(
            f'{path} has no {" and no ".join(repr(key) for key in missing)} at its top level; it '
            'must be a dict in COCO panoptic format')
    needed = dict(categories=('id', 'isthing') if 'categories' in keys else ('id', ),
                  images=('id', 'file_name'),
                  annotations=('image_id', 'file_name', 'segments_info'))
    for key, item_keys in needed.items():
        _check_items(content.get(key, []), item_keys, f'{path}: "{key}"')
    seen = set()
    for annotation in content['annotations']:
        where = f'{path}: image {annotation["image_id"]!r}'
        _check_items(annotation['segments_info'], ('id', 'category_id'), f'{where}: segments_info')
        for segment in annotation['segments_info']:
            _check_segment_id(segment['id'], where)
        if annotation['image_id'] in seen:
            raise PanopticDataError(f'{where} has two annotations; remove one of them')
        seen.add(annotation['image_id'])
    return content


def png_folder(folder: PathLike | None, json_file: PathLike, content: dict, what: str,
               option: str) -> Path:
    """Find the folder of the PNGs that a JSON describes.

    Args:
        folder: the folder; None selects the path of the JSON without its extension, or the folder
            of the JSON if that contains the first PNG.
        json_file: path of the JSON.
        content: content of the JSON.
        what: description of the PNGs in the error text.
        option: argument that sets the folder, for the error text.

    Raises:
        NotADirectoryError: the folder does not exist.
    """
    if folder is None:
        folder = Path(json_file).with_suffix('')
        beside = folder.parent
        if not folder.is_dir() and content['annotations'] and (
                beside / content['annotations'][0]['file_name']).is_file():
            return beside
    folder = Path(folder)
    if not folder.is_dir():
        raise NotADirectoryError(f'the folder with the PNGs of the {what}, {folder}, does not '
                                 f'exist; set it with {option}')
    return folder


def pair_annotations(gt: dict, pred: dict, pred_file: PathLike) -> list[tuple[dict, dict]]:
    """Pair the annotations of ground truth and predictions.

    Predictions of images without ground truth are ignored, as in the official evaluation.

    Args:
        gt: content of the ground truth JSON.
        pred: content of the result JSON.
        pred_file: path of the result JSON, for error texts.

    Returns:
        (ground truth, prediction) of each annotated image.

    Raises:
        PanopticDataError: an image has no prediction, or its prediction has the file name of
            another image.
    """
    of_id = {annotation['image_id']: annotation for annotation in pred['annotations']}
    gt_files, pred_files = (_file_names(side) for side in (gt, pred))

    def contradicts(image_id: object) -> bool:
        return (image_id in gt_files and image_id in pred_files
                and not _same_image(gt_files[image_id], pred_files[image_id]))

    found = _by_file_name([annotation['image_id'] for annotation in gt['annotations']], gt_files, {
        image_id: name for image_id, name in pred_files.items() if image_id in of_id})
    if found is not None:
        return [(annotation, of_id[found[annotation['image_id']]])
                for annotation in gt['annotations']]
    for annotation in gt['annotations']:
        image_id = annotation['image_id']
        if image_id not in of_id:
            raise PanopticDataError(
                f'no prediction for the image with id {image_id!r} ({annotation["file_name"]}) in '
                f'{pred_file}; every annotated image needs one, with an empty segments_info if '
                f'nothing was found{_of_other_type(image_id, of_id)}')
        if contradicts(image_id):
            raise PanopticDataError(
                f'{pred_file}: image id {image_id!r} is that of {pred_files[image_id]}, but of '
                f'{gt_files[image_id]} in the ground truth; write the results with the ids of the '
                'ground truth')
    return [(annotation, of_id[annotation['image_id']]) for annotation in gt['annotations']]


def category_ids(gt: dict, pred: dict, pred_file: PathLike) -> dict:
    """Map category ids of the results to category ids of the ground truth.

    Args:
        gt: content of the ground truth JSON.
        pred: content of the result JSON.
        pred_file: path of the result JSON, for error texts.

    Returns:
        id in the results -> id in the ground truth.

    Raises:
        PanopticDataError: the ground truth lacks the name of a category that occurs in the results.
        ValueError: a name in the results is no text.
    """
    names = {item['id']: item.get('name') for item in gt['categories']}
    own = {item['id']: item.get('name') for item in pred.get('categories', [])}
    if not own or None in (*names.values(), *own.values()):
        return {category: category for category in names}
    check_kind(str(pred_file), 'category', pred['categories'], 'name', TEXT,
               [item.get('name') for item in pred['categories']])
    of_name = {name: category for category, name in names.items()}
    used = {segment['category_id'] for annotation in pred['annotations']
            for segment in annotation['segments_info']}
    for category in used.intersection(own):
        if own[category] not in of_name:
            raise PanopticDataError(
                f'{pred_file}: category {category!r} is {own[category]!r}, which the ground truth '
                f'does not have; it has {sorted(map(str, of_name))}')
    return {category: of_name[name] for category, name in own.items() if name in of_name}


def _check_items(items: object, keys: Sequence[str], where: str) -> None:
    if not isinstance(items, list):
        raise PanopticDataError(f'{where} must be a list, got {type(items).__name__}')
    for number, item in enumerate(items):
        for key in keys:
            if not isinstance(item, dict) or key not in item:
                raise PanopticDataError(
                    f'{where}: entry {number} has no {key!r}; it must be a dict with '
                    f'{", ".join(keys)}')
            if key.endswith('id') and not isinstance(item[key], (int, str, float)):
                raise PanopticDataError(
                    f'{where}: entry {number} has {key} {item[key]!r}, which is not an id')
            if key == 'file_name' and (not isinstance(item[key], str) or '\0' in item[key]
                                       or not item[key].strip('./\\ ')):
                raise PanopticDataError(f'{where}: entry {number} has {key} {item[key]!r}, which '
                                        'is no name of a file')


def _check_segment_id(number: object, where: str) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or (
            not 0 <= number <= MAX_SEGMENT_ID):
        raise PanopticDataError(
            f'{where}: segments_info lists id {number!r}; segment ids must be whole numbers in '
            f'0 .. {MAX_SEGMENT_ID} (id = R + 256 G + 65536 B of the PNG)')


def _file_names(content: dict) -> dict:
    return {image['id']: str(image['file_name']).replace('\\', '/')
            for image in content.get('images', [])}


def _same_image(a: str, b: str) -> bool:
    """Check whether one path without extension is the end of the other."""
    parts_a, parts_b = (PurePosixPath(name).with_suffix('').parts for name in (a, b))
    count = min(len(parts_a), len(parts_b))
    return count > 0 and parts_a[-count:] == parts_b[-count:]


def _by_file_name(ids: Sequence, gt_files: dict, pred_files: dict) -> dict | None:
    """Map image ids of the ground truth to image ids of the results by their file names.

    Returns:
        None unless every image has exactly one match and no two images share it.
    """
    by_stem: dict[str, list] = {}
    for image_id, name in pred_files.items():
        by_stem.setdefault(PurePosixPath(name).stem, []).append(image_id)
    found = {}
    for image_id in ids:
        path = PurePosixPath(gt_files.get(image_id, ''))
        matches = [other for other in by_stem.get(path.stem, [])
                   if _same_image(str(path), pred_files[other])]
        # prefer the same extension among images that differ in the extension only
        matches = [other for other in matches
                   if PurePosixPath(pred_files[other]).suffix == path.suffix] or matches
        if len(matches) != 1:
            return None
        found[image_id] = matches[0]
    return found if len(set(found.values())) == len(found) else None


def _of_other_type(image_id: object, of_id: dict) -> str:
    other = next((known for known in of_id if str(known) == str(image_id)), None)
    return '' if other is None else f' (the file has {other!r}, of type {type(other).__name__})'

"""Small sources, and the results of imports, read without the library."""
import json

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 24, 32


def save(path, values, **options):
    """Save an array as an image of the ending of its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(values)).save(path, **options)
    return path


def photo(path, seed=0, height=HEIGHT, width=WIDTH, orientation=1):
    """Save a random image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def tree(folder):
    """Bytes of all files below a folder by relative name."""
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob('*')) if path.is_file()}


def panoptic(folder, split='train'):
    """Return segments (class name, crowd, mask) of each image by file name."""
    content = json.loads((folder / f'panoptic_{split}.json').read_text())
    names = {item['id']: item['name'] for item in content['categories']}
    files = {item['id']: item for item in content['images']}
    result = {}
    for annotation in content['annotations']:
        colors = np.asarray(Image.open(
            folder / f'panoptic_{split}' / annotation['file_name'])).astype(np.int64)
        ids = colors[..., 0] + 256 * colors[..., 1] + 65536 * colors[..., 2]
        image = files[annotation['image_id']]
        assert ids.shape == (image['height'], image['width'])
        assert (folder / f'images/{split}' / image['file_name']).is_file()
        listed = {item['id']: item for item in annotation['segments_info']}
        assert set(np.unique(ids).tolist()) - {0} == set(listed)
        for number, item in listed.items():
            rows, columns = np.nonzero(ids == number)
            assert item['area'] == len(rows)
            assert item['bbox'] == [columns.min(), rows.min(), np.ptp(columns) + 1,
                                    np.ptp(rows) + 1]
        result[image['file_name']] = [
            (names[item['category_id']], item['iscrowd'], ids == number)
            for number, item in listed.items()]
    return result


def as_map(segments, height=HEIGHT, width=WIDTH):
    """Draw segments of an image as text: name and number of each pixel, '' for void."""
    drawn = np.full((height, width), '', object)
    counts = {}
    for name, crowd, mask in segments:
        counts[name] = counts.get(name, 0) + 1
        drawn[mask] = f'{name}{"*" if crowd else counts[name]}'
    return drawn


def square(x1, y1, x2, y2):
    """Polygon of COCO."""
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def coco(root, split='train', annotations=None, names=('cat', 'dog'), count=1, name=None):
    """Write images and an instance JSON of one split."""
    images = []
    for number in range(1, count + 1):
        file = name or f'{split}_{number}.jpg'
        photo(root / f'{split}2017' / file, number)
        images.append(dict(id=number, file_name=file, height=HEIGHT, width=WIDTH))
    if annotations is None:
        annotations = [dict(id=number, image_id=number, category_id=10 + number % 2, iscrowd=0,
                            segmentation=[square(number, 2, number + 6, 9)])
                       for number in range(1, count + 1)]
    return write_json(root / f'annotations/instances_{split}2017.json', dict(
        images=images, annotations=annotations,
        categories=[dict(id=10 + k, name=name) for k, name in enumerate(names)]))

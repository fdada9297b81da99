"""Sources of the tests of labeling tools, and the masks of an import, read without mmpanseg."""
import json

import numpy as np
from PIL import Image

from mmpanseg.importers.run import run_import
from mmpanseg.importers.split import SplitOptions

SIZE = 30, 40


def photo(path, size=SIZE, orientation=1):
    """Write an image of (height, width) stored pixels with an EXIF orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    form = 'PNG' if path.suffix.lower() == '.png' else 'JPEG'
    Image.effect_noise(size[::-1], 50).convert('RGB').save(path, form, exif=exif)
    return path


def write(path, content, encoding='utf-8'):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    path.write_bytes(text.encode(encoding))
    return path


def box(left, top, right, bottom, size=SIZE):
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


class Result:
    """An import into ``src.parent/out``."""

    def __init__(self, form, src, val=None, **options):
        self.folder = (src if src.is_dir() else src.parent).parent / 'out'
        self.imported = run_import(form, src, self.folder, workers=1,
                                   split=SplitOptions(val=val), **options)
        self.notes = '\n'.join(self.imported.notes)
        self.names = [item['name'] for item in self.imported.classes]

    def images(self, split='train'):
        return sorted(item['file_name'] for item in self.content(split)['images'])

    def content(self, split='train', kind='panoptic'):
        return json.loads((self.folder / f'{kind}_{split}.json').read_text())

    def segments(self, name=None, split='train'):
        """Return (class name, crowd, mask) of each segment, in the order of areas."""
        content = self.content(split)
        names = {item['id']: item['name'] for item in content['categories']}
        image = next(item for item in content['images']
                     if name is None or item['file_name'] == name)
        entry = next(item for item in content['annotations'] if item['image_id'] == image['id'])
        with Image.open(self.folder / f'panoptic_{split}' / entry['file_name']) as png:
            colors = np.asarray(png).astype(int)
        ids = colors[..., 0] + 256 * colors[..., 1] + 65536 * colors[..., 2]
        found = [(names[item['category_id']], bool(item['iscrowd']), ids == item['id'])
                 for item in entry['segments_info']]
        assert set(np.unique(ids)) <= {0, *(item['id'] for item in entry['segments_info'])}
        return sorted(found, key=lambda item: item[2].sum())

    def masks(self, name=None, split='train'):
        """Return the mask of each class; every class must have one segment."""
        found = {label: mask for label, _, mask in self.segments(name, split)}
        assert len(found) == len(self.segments(name, split))
        return found

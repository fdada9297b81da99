"""Small files in the layout of the official downloads, with what real ones trip code over."""
import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

HEIGHT, WIDTH = 24, 40


def save(path, values):
    """Save an image with PIL, uint16 as 16-bit PNG."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(values)).save(path)


def save_photo(path, seed=0, gray=False):
    """Save a random image, gray or color."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (HEIGHT, WIDTH) if gray else (HEIGHT, WIDTH, 3)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


def cityscapes_ids():
    """instanceIds map: stuff, two cars, a group of persons, caravan, unlabeled, -1."""
    ids = np.full((HEIGHT, WIDTH), 7, np.uint16)  # road
    ids[:8] = 23  # sky
    ids[:2, :5] = 0  # unlabeled
    ids[2:4, :5] = 3  # out of region of interest
    ids[10:16, 2:10] = 26000  # the first car
    ids[12:20, 6:14] = 26001  # another one in front of it
    ids[10:14, 20:30] = 24  # a group of persons
    ids[16:20, 20:24] = 29000  # a caravan, not evaluated
    ids[16:20, 26:28] = 65535  # license plate, -1
    ids[20:22, 26:28] = 255  # -1 again, in 8 bits
    ids[22:, 30:34] = 18  # group of poles
    return ids


def cityscapes(root, splits=('train', 'val')):
    """leftImg8bit/ and gtFine/ with two cities; returns the root."""
    ids = cityscapes_ids()
    label_ids = np.where(ids >= 1000, ids // 1000, ids)
    label_ids = np.where(ids > 60000, 255, label_ids).astype(np.uint8)
    for split in splits:
        for city, number in (('aachen', 19), ('ulm', 3)):
            name = f'{city}_000000_{number:06d}'
            save_photo(root / f'leftImg8bit/{split}/{city}/{name}_leftImg8bit.png', number)
            base = f'{root}/gtFine/{split}/{city}/{name}_gtFine'
            save(f'{base}_instanceIds.png', ids)
            save(f'{base}_labelIds.png', label_ids)
            save(f'{base}_color.png', np.zeros((HEIGHT, WIDTH, 4), np.uint8))
            Path(f'{base}_polygons.json').write_text('{}')
    return root


def ade20k_maps():
    """Semantic values and instance channels, with overlaps and gaps between them."""
    semantic = np.zeros((HEIGHT, WIDTH), np.uint8)  # 0 = other
    semantic[:10] = 1  # wall
    semantic[14:] = 4  # floor
    semantic[12:20, 4:10] = 8  # bed
    semantic[16:20, 20:26] = 20  # chairs
    semantic[2:6, 2:6] = 3  # sky, all of it behind the bed's instance
    semantic[20:, 30:36] = 13  # a person without an instance
    instance = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    instance[2:6, 2:6] = (1, 1, 7)  # bed, in front of the sky
    instance[16:20, 20:23] = (8, 2, 0)  # a chair
    instance[15:20, 23:26] = (8, 3, 0)  # another chair, a row over the floor
    instance[22:, :2] = (100, 0, 0)  # a class without an instance
    return semantic, instance


def ade20k(root):
    """ADEChallengeData2016 with a gray image, an odd name and files of an archiver."""
    semantic, instance = ade20k_maps()
    for split, names in (('training', ('ADE_train_00000001', 'ADE_train_0000.odd 2')),
                         ('validation', ('ADE_val_00000001', ))):
        for number, name in enumerate(names):
            save_photo(root / f'images/{split}/{name}.jpg', number, gray=number == 1)
            save(root / f'annotations/{split}/{name}.png', semantic)
            save(root / f'annotations_instance/{split}/{name}.png', instance)
        (root / f'images/{split}/._{names[0]}.jpg').write_bytes(b'of an archiver')
    return root


def vistas_config(labels):
    """Content of config.json; ``labels`` are VistasLabels."""
    return dict(version='x', labels=[
        dict(name=f'group--{label.name.lower()}', readable=label.name, instances=label.is_thing,
             evaluate=label.evaluated, color=list(label.color)) for label in labels])


def vistas_values(unlabeled=65):
    """16-bit instance values of version 1.2: label * 256 + instance."""
    values = np.full((HEIGHT, WIDTH), 13 * 256, np.uint16)  # road
    values[:6] = 27 * 256  # sky
    values[2:4, 2:6] = 0  # the first bird: value 0
    values[2:4, 8:12] = 1  # the second bird
    values[10:16, 4:12] = 55 * 256  # a car
    values[10:16, 20:28] = 55 * 256 + 255  # car number 255
    values[20:, :8] = unlabeled * 256
    values[20:, 10:20] = 64 * 256  # ego vehicle, a stuff class that counts
    return values


def vistas(root, labels, version=None):
    """Mapillary Vistas; without a version in the layout of the packages of version 1.2."""
    values = vistas_values()
    (root / (f'config_{version}.json' if version else 'config.json')).write_text(
        json.dumps(vistas_config(labels)))
    for split in ('training', 'validation'):
        save_photo(root / f'{split}/images/a-B_c.jpg')
        base = root / split / (version or '')
        save(base / 'instances/a-B_c.png', values)
        image = Image.fromarray((values // 256).astype(np.uint8), mode='L').convert('P')
        image.putdata((values // 256).ravel().tolist())
        image.putpalette(sum((list(label.color) for label in labels), []))
        (base / 'labels').mkdir(parents=True)
        image.save(base / 'labels/a-B_c.png')
        vistas_panoptic(base / 'panoptic', values, labels,
                        'panoptic_2020.json' if version == 'v2.0' else 'panoptic_2018.json')
    return root


def vistas_panoptic(folder, values, labels, name):
    """The panoptic folder of the download, in COCO panoptic format; the second car is a crowd."""
    ids = values.astype(np.int64) + 1
    ids[~np.isin(values // 256, [k for k, label in enumerate(labels) if label.evaluated])] = 0
    rgb = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], -1).astype(np.uint8)
    save(folder / 'a-B_c.png', rgb)
    (folder / name).write_text(json.dumps(dict(
        images=[dict(id='a-B_c', file_name='a-B_c.jpg', height=HEIGHT, width=WIDTH)],
        annotations=[dict(image_id='a-B_c', file_name='a-B_c.png', segments_info=[
            dict(id=int(i), category_id=int(i - 1) // 256 + 1, area=int((ids == i).sum()),
                 iscrowd=int(i == 55 * 256 + 256), bbox=[0, 0, 1, 1])
            for i in np.unique(ids[ids > 0])])],
        categories=[dict(id=k + 1, name=label.name, isthing=int(label.is_thing),
                         color=list(label.color), supercategory='x')
                    for k, label in enumerate(labels) if label.evaluated])))

"""A small valid data set of each kind, and mistakes to plant in it, one per image.

Each mistake is a function that spoils one picture, or the lists of a split, and returns where the
doctor must find it.
"""
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as rle_tools

from mmpanseg.doctor.source import Source
from mmpanseg.structures.map_segments import encode_segments, find_segments
from mmpanseg.structures.panoptic_png import id2rgb

HEIGHT, WIDTH = 64, 96
SKY, GROUND, PERSON, CAR = 1, 2, 7, 9
CATEGORIES = (dict(id=PERSON, name='person', isthing=1), dict(id=CAR, name='car', isthing=1),
              dict(id=SKY, name='sky', isthing=0), dict(id=GROUND, name='ground', isthing=0))
CLASSES = ('person', 'car', 'sky', 'ground')
ABSENT = b'absent'
NUM_QUERIES = 20
MAX_PIXELS = 10000


class Place(NamedTuple):
    """Where a problem must be found."""

    check: str
    split: str
    file: str | None = None
    image_id: int | str | None = None
    segment_id: int | None = None


@dataclass
class Picture:
    """One image with its map and entries; bytes that are given replace the encoded ones."""

    split: str
    image: dict
    pixels: np.ndarray
    ids: np.ndarray
    annotation: dict = field(default_factory=dict)
    objects: list[dict] = field(default_factory=list)
    image_bytes: bytes | None = None
    map_bytes: bytes | None = None

    @property
    def segments(self) -> list[dict]:
        return self.annotation['segments_info']

    def segment(self, category: int) -> dict:
        return next(s for s in self.segments if s['category_id'] == category)

    def describe(self) -> None:
        """Write areas and boxes of all segments by the pixels."""
        found = find_segments(self.ids)
        known = {number: (int(area), box.tolist()) for number, area, box in zip(
            found.ids.tolist(), found.areas, found.boxes)}
        for segment in self.segments:
            area, (x1, y1, x2, y2) = known[segment['id']]
            segment |= dict(area=area, bbox=[x1, y1, x2 - x1, y2 - y1])

    def place(self, check: str, segment_id: int | None = None) -> Place:
        return Place(check, self.split, self.image['file_name'], self.image.get('id'), segment_id)

    def on_map(self, check: str, segment_id: int | None = None) -> Place:
        return self.place(check, segment_id)._replace(file=self.annotation['file_name'])


class PlantedSet:
    """Training and validation images of one kind, in memory until they are written.

    Args:
        root: folder to write to.
        kind: 'panoptic', 'instance' or 'semantic'.
        train: number of sound training images.
        val: number of sound validation images.
    """

    def __init__(self, root: Path, kind: str = 'panoptic', train: int = 3, val: int = 3) -> None:
        self.root, self.kind = root, kind
        self.classes = CLASSES[:2] if kind == 'instance' else CLASSES
        self.pictures: dict[str, list[Picture]] = {'train': [], 'val': []}
        self.lists = {split: dict(
            images=[], annotations=[],
            categories=[dict(c) for c in CATEGORIES if kind != 'instance' or c['isthing']])
            for split in self.pictures}
        self.extra: dict[str, bytes] = {}
        for split, count in (('train', train), ('val', val)):
            for _ in range(count):
                self.take(split)

    def take(self, split: str = 'train') -> Picture:
        """Add a picture, to be spoiled."""
        picture = self._picture(split, len(self.pictures[split]))
        self.pictures[split].append(picture)
        lists = self.lists[split]
        lists['images'].append(picture.image)
        lists['annotations'] += [picture.annotation] if self.kind == 'panoptic' else (
            picture.objects)
        return picture

    def json_name(self, split: str) -> str:
        return str(self.root / f'{split}.json')

    def sources(self) -> list[Source]:
        """Return the sources, with absolute paths."""
        return [Source(
            split, self.kind, self.json_name(split) if self.kind != 'semantic' else '',
            str(self.root / 'images' / split),
            '' if self.kind == 'instance' else str(self.root / 'maps' / split),
            classes=self.classes, img_suffix='.jpg' if self.kind == 'semantic' else None,
            num_queries=NUM_QUERIES) for split in self.pictures]

    def write(self) -> None:
        """Write all files."""
        self.root.mkdir(parents=True, exist_ok=True)
        for split, pictures in self.pictures.items():
            for picture in pictures:
                names = picture.image['file_name'], picture.annotation['file_name']
                for folder, name, data, make in (
                        ('images', names[0], picture.image_bytes, lambda p=picture: jpg(p.pixels)),
                        ('maps', names[1], picture.map_bytes, lambda p=picture: self._map(p.ids))):
                    if self.kind == 'instance' and folder == 'maps' or data is ABSENT:
                        continue
                    path = self.root / folder / split / name.replace('\\', '/')
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(make() if data is None else data)
            if self.kind != 'semantic':
                Path(self.json_name(split)).write_text(json.dumps(self.lists[split]))
        for name, data in self.extra.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def _map(self, ids: np.ndarray) -> bytes:
        return png(ids.astype(np.uint8) if self.kind == 'semantic' else id2rgb(ids))

    def _picture(self, split: str, number: int) -> Picture:
        generator = np.random.default_rng([number, len(split)])
        name = f'{split}_{number:03d}'
        image_id = number + 1 + 1000 * (split == 'val')
        ids = np.full((HEIGHT, WIDTH), SKY, np.int32)
        ids[40:] = GROUND
        left, top = generator.integers(2, 20, 2)
        ids[top + 10:top + 30, left:left + 14] = PERSON
        ids[top + 20:top + 38, left + 40:left + 64] = CAR
        picture = Picture(split, dict(id=image_id, file_name=f'{name}.jpg', height=HEIGHT,
                                      width=WIDTH), photo(generator), ids)
        picture.annotation = dict(image_id=image_id, file_name=f'{name}.png')
        if self.kind == 'panoptic':
            # ids of one, two and three bytes
            numbers = {SKY: 3, GROUND: 300 + number, PERSON: 70000 + number, CAR: 90000 + number}
            picture.ids = np.vectorize(numbers.get)(ids).astype(np.int32)
            picture.annotation['segments_info'] = [
                dict(id=numbers[c], category_id=c, iscrowd=0) for c in numbers]
            picture.describe()
        elif self.kind == 'semantic':
            picture.ids = np.select([ids == c for c in (PERSON, CAR, SKY, GROUND)], range(4))
        else:
            for k, (category, mask) in enumerate(encode_segments(ids).items()):
                if category in (PERSON, CAR):
                    picture.objects.append(described(dict(
                        id=10 * image_id + k, image_id=image_id, category_id=category, iscrowd=0,
                        segmentation=dict(mask, counts=mask['counts'].decode()))))
        return picture


def described(entry: dict) -> dict:
    """Write area and box of an object by its mask."""
    mask = entry['segmentation']
    if isinstance(mask, list):
        mask = rle_tools.merge(rle_tools.frPyObjects(mask, HEIGHT, WIDTH))
    return entry | dict(area=int(rle_tools.area(mask)), bbox=rle_tools.toBbox(mask).tolist())


def photo(generator: np.random.Generator, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Make an RGB image whose large shapes no other image has."""
    coarse = generator.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    fine = generator.integers(-12, 13, (height, width, 3))
    return np.clip(cv2.resize(coarse, (width, height)).astype(int) + fine, 0, 255).astype(np.uint8)


def encode(array: np.ndarray, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, form, **options)
    return file.getvalue()


def png(array: np.ndarray, **options: Any) -> bytes:
    return encode(array, 'PNG', **options)


def jpg(array: np.ndarray, **options: Any) -> bytes:
    return encode(array, 'JPEG', quality=95, **options)


def rotated(orientation: int) -> dict[str, Any]:
    """Options of Pillow that store an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return dict(exif=exif.tobytes())


Plant = Callable[[PlantedSet], list[Place]]
MISTAKES: dict[str, dict[str, Plant]] = {'panoptic': {}, 'instance': {}, 'semantic': {}}


def mistake(kind: str) -> Callable[[Callable[[PlantedSet], Any]], Plant]:
    """Register a function that plants a mistake and returns its place, or several."""

    def register(function: Callable[[PlantedSet], Any]) -> Plant:
        def plant(data: PlantedSet) -> list[Place]:
            found = function(data)
            return [found] if isinstance(found, Place) else found

        MISTAKES[kind][function.__name__] = plant
        return plant

    return register


def plant_all(root: Path, kind: str) -> tuple[PlantedSet, dict[str, list[Place]]]:
    """Write a set with every mistake of its kind, and return it with the places by mistake."""
    data = PlantedSet(root, kind)
    places = {name: plant(data) for name, plant in MISTAKES[kind].items()}
    data.write()
    return data, places


panoptic, instance, semantic = map(mistake, MISTAKES)


# ---- lists of a panoptic JSON

@panoptic
def missing_key(data):
    p = data.take()
    del p.segment(CAR)['category_id']
    return p.place('PAN006', p.segments[-1]['id'])


@panoptic
def wrong_type(data):
    p = data.take()
    p.image['height'] = str(HEIGHT)
    return p.place('PAN007')


@panoptic
def side_of_zero_pixels(data):
    p = data.take()
    p.image['width'] = 0
    return p.place('PAN008')


@panoptic
def image_id_twice(data):
    p, other = data.take(), data.take()
    other.map_bytes = ABSENT
    data.lists['train']['annotations'].remove(other.annotation)
    other.image['id'] = p.image['id']
    return other.place('PAN009')


@panoptic
def two_annotations(data):
    p = data.take()
    data.lists['train']['annotations'].append(dict(p.annotation, file_name='again.png'))
    return p.place('PAN010')


@panoptic
def file_listed_twice(data):
    p, other = data.take(), data.take()
    other.image['file_name'] = p.image['file_name']
    other.image_bytes = ABSENT
    return other.place('PAN011')


@panoptic
def category_id_twice(data):
    data.lists['train']['categories'].append(dict(id=CAR, name='lorry', isthing=1))
    return Place('PAN012', 'train', data.json_name('train'))


@panoptic
def category_name_twice(data):
    data.lists['train']['categories'].append(dict(id=50, name='sky', isthing=0))
    return Place('PAN013', 'train', data.json_name('train'))


@panoptic
def no_isthing(data):
    del data.lists['train']['categories'][1]['isthing']
    return Place('PAN014', 'train', data.json_name('train'))


@panoptic
def other_spelling(data):
    data.classes = (*data.classes, 'bicycle')
    for split in ('train', 'val'):
        data.lists[split]['categories'].append(dict(id=60, name='bycicle', isthing=1))
    return [Place('PAN016', split, data.json_name(split)) for split in ('train', 'val')]


@panoptic
def names_alike(data):
    data.lists['val']['categories'].append(dict(id=61, name='Car', isthing=1))
    return Place('PAN046', 'val', data.json_name('val'))


@panoptic
def category_not_selected(data):
    p = data.take()
    data.lists['train']['categories'].append(dict(id=62, name='tree', isthing=1))
    p.segment(CAR)['category_id'] = 62
    return p.place('PAN017', p.segments[-1]['id'])


@panoptic
def no_such_category(data):
    p = data.take()
    p.segment(CAR)['category_id'] = 777
    return p.place('PAN019', p.segments[-1]['id'])


@panoptic
def annotation_without_image(data):
    p = data.take()
    data.lists['train']['annotations'].append(
        dict(p.annotation, image_id=9999, file_name='nobody.png'))
    return Place('PAN020', 'train', 'nobody.png', 9999)


@panoptic
def image_without_annotation(data):
    p = data.take()
    p.map_bytes = ABSENT
    data.lists['train']['annotations'].remove(p.annotation)
    return p.place('PAN021')


@panoptic
def segment_id_twice(data):
    p = data.take()
    p.segments.append(dict(p.segment(CAR)))
    return p.place('PAN022', p.segments[-1]['id'])


@panoptic
def segment_id_zero(data):
    p = data.take()
    p.segments.append(dict(p.segment(CAR), id=0))
    return p.place('PAN023', 0)


@panoptic
def segment_id_too_large(data):
    p = data.take()
    p.segments.append(dict(p.segment(CAR), id=1 << 24))
    return p.place('PAN024', 1 << 24)


@panoptic
def stuff_listed_twice(data):
    p = data.take()
    p.ids[:8][p.ids[:8] == 3] = 4
    p.segments.append(dict(p.segment(SKY), id=4))
    p.describe()
    return p.place('PAN025')


@panoptic
def crowd(data):
    p = data.take()
    p.segment(CAR)['iscrowd'] = 1
    return p.place('PAN026')


@panoptic
def crowd_of_stuff(data):
    p = data.take('val')
    p.segment(SKY)['iscrowd'] = 1
    p.ids[:30] = p.segment(GROUND)['id']
    p.ids[30:40] = 3
    p.segments[:] = [s for s in p.segments if s['id'] in p.ids]
    p.describe()
    return p.place('PAN053', 3)


@panoptic
def backslash(data):
    p = data.take()
    p.image['file_name'] = 'day\\' + p.image['file_name']
    return p.place('PAN027')


@panoptic
def other_capitals(data):
    p = data.take()
    data.extra['images/train/' + p.image['file_name']] = jpg(p.pixels)
    p.image_bytes = ABSENT
    p.image['file_name'] = p.image['file_name'].replace('train', 'Train')
    return p.place('PAN028')


@panoptic
def ending_in_capitals(data):
    p = data.take()
    p.image['file_name'] = p.image['file_name'].replace('.jpg', '.JPG')
    return p.place('PAN029')


@panoptic
def out_of_its_folder(data):
    p = data.take()
    p.image['file_name'] = '../elsewhere/' + p.image['file_name']
    return p.place('PAN030')


@panoptic
def missing_image(data):
    p = data.take()
    p.image_bytes = ABSENT
    return p.place('PAN031')


@panoptic
def missing_map(data):
    p = data.take()
    p.map_bytes = ABSENT
    return p.on_map('PAN032')


@panoptic
def image_that_nothing_lists(data):
    data.extra['images/train/nobody.jpg'] = jpg(photo(np.random.default_rng(901)))
    return Place('PAN033', '', str(data.root / 'images/train'))


@panoptic
def map_that_nothing_lists(data):
    data.extra['maps/train/unlisted.png'] = png(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return Place('PAN034', '', str(data.root / 'maps/train'))


@panoptic
def accent_of_two_characters(data):
    p = data.take()
    p.image['file_name'] = 'cafe\u0301.jpg'
    return p.place('PAN037')


@panoptic
def optional_key(data):
    p = data.take()
    del p.segment(CAR)['area']
    return Place('PAN047', 'train', data.json_name('train'))


@panoptic
def map_of_another_image(data):
    p, other = data.take(), data.take()
    other.annotation.update(p.annotation, image_id=other.image['id'])
    other.map_bytes = ABSENT
    return other.place('PAN049')


@panoptic
def name_that_is_none(data):
    p = data.take('val')
    data.lists['val']['annotations'].remove(p.annotation)
    p.image['file_name'] = './'
    p.image_bytes = p.map_bytes = ABSENT
    return p.place('PAN038')


# ---- image files

@panoptic
def empty_image(data):
    p = data.take()
    p.image_bytes = b''
    return p.place('PAN101')


@panoptic
def truncated_image(data):
    p = data.take()
    p.image_bytes = jpg(p.pixels)[:1500]
    return p.place('PAN102')


@panoptic
def text_as_image(data):
    p = data.take()
    p.image_bytes = b'<html>404 Not Found</html>' * 20
    return p.place('PAN103')


@panoptic
def png_with_ending_jpg(data):
    p = data.take()
    p.image_bytes = png(p.pixels)
    return p.place('PAN104')


@panoptic
def image_of_another_size(data):
    p = data.take()
    p.image['height'] = HEIGHT + 10
    return p.place('PAN105')


@panoptic
def rotated_image(data):
    p = data.take()
    p.image_bytes = jpg(p.pixels, **rotated(6))
    return p.place('PAN106')


@panoptic
def upright_map_of_a_rotated_image(data):
    p = data.take()
    p.image_bytes = jpg(np.rot90(p.pixels), **rotated(6))
    return p.place('PAN107')


@panoptic
def large_image(data):
    p = data.take()
    p.pixels = photo(np.random.default_rng(902), 2 * HEIGHT, 2 * WIDTH)
    p.ids = p.ids.repeat(2, 0).repeat(2, 1)
    p.image.update(height=2 * HEIGHT, width=2 * WIDTH)
    p.describe()
    return p.place('PAN108')


@panoptic
def image_of_one_color(data):
    p = data.take()
    p.pixels[:] = 90
    return p.place('PAN115')


# ---- maps

@panoptic
def empty_map(data):
    p = data.take()
    p.map_bytes = b''
    return p.on_map('PAN201')


@panoptic
def truncated_map(data):
    p = data.take()
    p.map_bytes = png(id2rgb(p.ids))[:-60]
    return p.on_map('PAN202')


@panoptic
def map_that_is_no_png(data):
    p = data.take()
    p.map_bytes = encode(id2rgb(p.ids), 'BMP')
    return p.on_map('PAN203')


def _small_ids(p: Picture) -> None:
    for number, segment in enumerate(p.segments, 1):
        p.ids[p.ids == segment['id']] = number
        segment['id'] = number


@panoptic
def gray_map(data):
    p = data.take()
    _small_ids(p)
    p.map_bytes = png(p.ids.astype(np.uint8))
    return p.on_map('PAN204')


@panoptic
def map_of_16_bits(data):
    p = data.take()
    _small_ids(p)
    p.map_bytes = png(p.ids.astype(np.uint16))
    return p.on_map('PAN205')


@panoptic
def map_with_transparency(data):
    p = data.take()
    p.map_bytes = png(np.dstack([id2rgb(p.ids), np.full((HEIGHT, WIDTH), 255, np.uint8)]))
    return p.on_map('PAN206')


@panoptic
def map_with_palette(data):
    p = data.take()
    file = io.BytesIO()
    Image.fromarray(id2rgb(p.ids)).quantize(256, dither=Image.Dither.NONE).save(file, 'PNG')
    p.map_bytes = file.getvalue()
    return p.on_map('PAN207')


@panoptic
def map_of_another_size(data):
    p = data.take()
    p.ids = p.ids.repeat(2, 0).repeat(2, 1)
    p.describe()
    return p.on_map('PAN208')


@panoptic
def map_that_is_turned(data):
    p = data.take()
    p.ids = np.rot90(p.ids)
    p.describe()
    return p.on_map('PAN209')


@panoptic
def id_without_segment(data):
    p = data.take()
    gone = p.segments.pop()
    return p.on_map('PAN210', gone['id'])


@panoptic
def segment_without_pixel(data):
    p = data.take()
    p.segments.append(dict(p.segment(CAR), id=12345))
    return p.on_map('PAN211', 12345)


@panoptic
def wrong_area(data):
    p = data.take()
    p.segment(CAR)['area'] += 150
    return p.on_map('PAN212', p.segment(CAR)['id'])


@panoptic
def wrong_box(data):
    p = data.take()
    p.segment(CAR)['bbox'][2] += 20
    return p.on_map('PAN213', p.segment(CAR)['id'])


@panoptic
def interpolated_map(data):
    p = data.take()
    half = cv2.resize(id2rgb(p.ids), (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_NEAREST)
    p.map_bytes = png(cv2.resize(half, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR))
    return p.on_map('PAN214')


@panoptic
def merged_objects(data):
    p = data.take()
    car, person = p.segment(CAR)['id'], p.segment(PERSON)['id']
    sky = p.segment(SKY)['id']
    p.ids[(p.ids == car) | (p.ids == person)] = sky
    p.ids[40:][p.ids[40:] == sky] = p.segment(GROUND)['id']
    p.ids[4:24, 2:14] = p.ids[42:62, 80:94] = car
    p.ids[24:30, 40:50] = person
    p.describe()
    return p.on_map('PAN215', car)


@panoptic
def mostly_void(data):
    p = data.take()
    p.ids[:52][np.isin(p.ids[:52], [p.segment(SKY)['id'], p.segment(GROUND)['id']])] = 0
    p.segments.remove(p.segment(SKY))
    p.describe()
    return p.on_map('PAN216')


@panoptic
def mostly_crowd(data):
    p = data.take('val')
    p.ids[:] = p.segment(GROUND)['id']
    p.ids[8:60] = p.segment(CAR)['id']
    p.segment(CAR)['iscrowd'] = 1
    p.segments[:] = [s for s in p.segments if s['id'] in p.ids]
    p.describe()
    return p.on_map('PAN217')


@panoptic
def tiny_segment(data):
    p = data.take()
    p.ids[0:2, 0:3] = 5
    p.segments.append(dict(p.segment(CAR), id=5))
    p.describe()
    return p.on_map('PAN218', 5)


# ---- the whole set

@panoptic
def same_name_in_both_splits(data):
    p, other = data.take(), data.take('val')
    other.image['file_name'] = p.image['file_name']
    return other.place('PAN401')


@panoptic
def same_image_in_both_splits(data):
    p, other = data.take(), data.take('val')
    other.pixels = p.pixels
    return other.place('PAN402')


@panoptic
def look_alikes_in_both_splits(data):
    p, other = data.take(), data.take('val')
    other.pixels = np.clip(p.pixels.astype(int) + 6, 0, 255).astype(np.uint8)
    return other.place('PAN403')


@panoptic
def same_image_twice(data):
    p, other = data.take(), data.take()
    other.pixels = p.pixels
    return other.place('PAN405')


@panoptic
def class_without_segment(data):
    data.classes = (*data.classes, 'boat')
    for split in ('train', 'val'):
        data.lists[split]['categories'].append(dict(id=63, name='boat', isthing=1))
    return [Place('PAN406', split) for split in ('train', 'val')]


@panoptic
def more_segments_than_queries(data):
    p = data.take()
    for number in range(NUM_QUERIES):
        row, column = divmod(number, 10)
        p.ids[41 + 8 * row:47 + 8 * row, 4 + 9 * column:12 + 9 * column] = 500 + number
        p.segments.append(dict(p.segment(CAR), id=500 + number))
    present = set(np.unique(p.ids).tolist())
    p.segments[:] = [s for s in p.segments if s['id'] in present]
    p.describe()
    return p.place('PAN409')


# ---- objects of an instance JSON

def _object(p: Picture, **changes: Any) -> dict:
    entry = p.objects[-1]
    entry.update(changes)
    return entry


SQUARE = [10., 10., 40., 10., 40., 40., 10., 40.]


def _polygon(p: Picture, *parts: list) -> dict:
    entry = _object(p, segmentation=[list(part) for part in parts])
    entry.update(described(entry))
    return entry


@instance
def object_id_twice(data):
    p = data.take()
    entry = p.objects[-1]
    entry['id'] = p.objects[0]['id']
    return p.place('PAN036', entry['id'])


@instance
def no_mask(data):
    p = data.take()
    entry = _object(p, segmentation=[])
    return p.place('PAN301', entry['id'])


@instance
def polygon_of_two_points(data):
    p = data.take()
    entry = _polygon(p, SQUARE)
    entry['segmentation'].append([50., 50., 55., 55.])
    return p.place('PAN302', entry['id'])


@instance
def odd_number_of_coordinates(data):
    p = data.take()
    entry = _polygon(p, SQUARE)
    entry['segmentation'][0].append(5.)
    return p.place('PAN303', entry['id'])


@instance
def polygon_partly_outside(data):
    p = data.take()
    entry = _polygon(p, [60., 10., 140., 10., 140., 40., 60., 40.])
    return p.place('PAN304', entry['id'])


@instance
def polygon_outside(data):
    p = data.take()
    entry = _object(p, segmentation=[[x + 500. for x in SQUARE]], bbox=[510., 510., 30., 30.],
                    area=900.)
    return p.place('PAN305', entry['id'])


@instance
def run_lengths_of_another_size(data):
    p = data.take()
    small = rle_tools.encode(np.asfortranarray(np.eye(32, dtype=np.uint8)))
    entry = _object(p, segmentation=dict(size=[32, 32], counts=small['counts'].decode()))
    return p.place('PAN306', entry['id'])


@instance
def run_lengths_too_short(data):
    p = data.take()
    entry = _object(p, segmentation=dict(size=[HEIGHT, WIDTH], counts=[100, 200]))
    return p.place('PAN307', entry['id'])


@instance
def empty_mask(data):
    p = data.take()
    entry = _object(p, segmentation=dict(size=[HEIGHT, WIDTH], counts=[HEIGHT * WIDTH]))
    return p.place('PAN308', entry['id'])


@instance
def wrong_area_of_an_object(data):
    p = data.take()
    entry = _object(p, area=3)
    return p.place('PAN309', entry['id'])


@instance
def wrong_box_of_an_object(data):
    p = data.take()
    entry = _object(p, bbox=[0, 0, 5, 5])
    return p.place('PAN310', entry['id'])


@instance
def narrow_object(data):
    p = data.take()
    entry = _polygon(p, [10., 10., 10.4, 10., 10.4, 40., 10., 40.])
    entry.update(bbox=[10., 10., .4, 30.], area=12.)
    return p.place('PAN311', entry['id'])


@instance
def shares_instead_of_pixels(data):
    p = data.take()
    entry = _object(p, segmentation=[[.1, .1, .4, .1, .4, .6, .1, .6]], bbox=[.1, .1, .3, .5],
                    area=.15)
    return p.place('PAN312', entry['id'])


@instance
def object_twice(data):
    p = data.take()
    again = dict(p.objects[-1], id=99999)
    data.lists['train']['annotations'].append(again)
    return p.place('PAN313', 99999)


@instance
def crowd_of_polygons(data):
    p = data.take('val')
    entry = _polygon(p, SQUARE)
    entry['iscrowd'] = 1
    return p.place('PAN314', entry['id'])


# ---- label maps

def _label_map(p: Picture, check: str) -> Place:
    return Place(check, p.split, p.annotation['file_name'], p.image['file_name'][:-4])


@semantic
def value_outside_the_classes(data):
    p = data.take()
    p.ids[50:60, 10:30] = 17
    return _label_map(p, 'PAN220')


@semantic
def colors_instead_of_labels(data):
    p = data.take()
    p.map_bytes = png(id2rgb(p.ids * 1000))
    return _label_map(p, 'PAN221')


@semantic
def everything_ignored(data):
    p = data.take()
    p.ids[:] = 255
    return _label_map(p, 'PAN223')


@semantic
def image_without_label_map(data):
    p = data.take()
    p.map_bytes = ABSENT
    return Place('PAN039', 'train', p.image['file_name'], p.image['file_name'][:-4])


@semantic
def label_map_without_image(data):
    data.extra['maps/train/nobody.png'] = png(np.zeros((HEIGHT, WIDTH), np.uint8))
    return Place('PAN040', 'train', 'nobody.png')


@semantic
def label_map_of_another_size(data):
    p = data.take()
    p.ids = p.ids[:-4]
    return _label_map(p, 'PAN208')


@semantic
def damaged_label_map(data):
    p = data.take()
    p.map_bytes = png(p.ids.astype(np.uint8))[:-40]
    return _label_map(p, 'PAN202')


def all_mistakes() -> Iterator[tuple[str, str]]:
    """Iterate over (kind, name) of all mistakes."""
    for kind, plants in MISTAKES.items():
        for name in plants:
            yield kind, name

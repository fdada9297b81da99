"""Synthetic scenes: composition of an image, and a data set of them in COCO panoptic format."""
from pathlib import Path

import cv2
import numpy as np

from mmpanseg.datasets.panoptic import PanopticDataset
from mmpanseg.datasets.scenes.backdrop import Frame, make_backdrop, make_frame
from mmpanseg.datasets.scenes.sprites import THINGS, draw_thing, random_color
from mmpanseg.registry import DATASETS
from mmpanseg.structures import VOID
from mmpanseg.structures.panoptic_png import rgb2id, write_panoptic_png
from mmpanseg.utils import strict_json

THING_CLASSES = ('ball', 'crate', 'tree', 'car', 'person', 'bird')
STUFF_CLASSES = ('sky', 'mountain', 'grass', 'water', 'road', 'wall')
CLASSES = THING_CLASSES + STUFF_CLASSES
GROUND = ('grass', 'road')
PALETTE = ((235, 92, 60), (176, 122, 70), (38, 128, 76), (66, 94, 214), (222, 66, 140),
           (242, 188, 48), (138, 196, 244), (130, 118, 150), (140, 200, 84), (42, 140, 190),
           (110, 110, 118), (196, 150, 128))
# visible pixels below which a thing or a stuff region becomes void, at 192 x 256
MIN_AREA = 45


def make_scene(rng: np.random.Generator,
               size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Draw a scene with its panoptic ground truth.

    Args:
        rng: source of random numbers.
        size: (H, W) in pixels.

    Returns:
        uint8 image [H, W, 3] in RGB, int32 index map [H, W] with -1 = void, and the class name of
        each index.
    """
    frame = make_frame(rng, size)
    image = np.zeros((*size, 3), np.float32)
    index = np.full(size, VOID, np.int32)
    names: list[str] = []
    for name, alpha, color in make_backdrop(rng, frame):
        color -= image
        color *= alpha[..., None]
        image += color
        index[alpha > 0.5] = len(names)
        names.append(name)
    image *= np.asarray(frame.mood[2], np.float32)

    for name, x, foot, height, tint in _plan_things(rng, frame, index, names):
        color, alpha = draw_thing(rng, name, height, tint, frame.light)
        if name != 'bird':
            _cast_shadow(image, frame, x, foot, height, alpha.shape[1])
        color = color * np.asarray(frame.mood[2], np.float32)
        visible = _paste(image, frame, color, alpha, x, foot)
        if name in THING_CLASSES:
            index[visible] = len(names)
            names.append(name)
        else:
            index[visible] = VOID

    image = _take_photo(rng, frame, image)
    if rng.random() < 0.15:
        _blur_border(image, index, max(2, round(0.02 * size[0])))
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8), *_drop_slivers(index, names)


def _plan_things(rng: np.random.Generator, frame: Frame, index: np.ndarray,
                 names: list[str]) -> list[tuple]:
    """Return (name, x, foot, height, color) of each thing, from far to near."""
    plan = []
    regions = {name: np.argwhere(index == k) for k, name in enumerate(names)}
    ground = np.concatenate([regions[n] for n in GROUND if n in regions])
    ground = ground[ground[:, 0] > frame.horizon + 0.06 * frame.height]
    for _ in range(rng.choice(6, p=(0.05, 0.17, 0.28, 0.26, 0.16, 0.08))):
        name = THING_CLASSES[rng.integers(len(THING_CLASSES))]
        if rng.random() < 0.06:
            name = 'rock'
        _, aspect, near_height, far_share = THINGS[name]
        if name == 'bird':
            x, foot = rng.uniform(0, frame.width), rng.uniform(0.12, 0.6) * frame.height
        else:
            road = regions.get('road', ())
            places = road if name == 'car' and len(road) > 500 else ground
            foot, x = places[rng.integers(len(places))] if len(places) else (
                frame.height - 1, rng.uniform(0, frame.width))
            foot = foot + rng.uniform(0, 0.05) * frame.height
        tint = random_color(rng)
        height = 0.0
        # groups of one class that touch and overlap
        for member in range(rng.choice((1, 2, 3, 4), p=(0.5, 0.27, 0.15, 0.08))):
            if member:
                x = x + rng.choice((-1, 1)) * aspect * height * rng.uniform(0.5, 1.05)
                foot = foot + rng.normal(0, 0.05) * frame.height
                if name != 'bird' and not _is_ground(index, names, x, foot):
                    break
                if rng.random() < 0.6:
                    tint = random_color(rng)
            nearness = np.clip((foot - frame.horizon) / (frame.height - frame.horizon), 0, 1)
            scale = far_share + (1 - far_share) * nearness
            height = near_height * frame.height * scale * rng.uniform(0.75, 1.15)
            plan.append((name, float(x), float(foot), float(height), tint))
    # birds are in front of all other things
    return sorted(plan, key=lambda thing: (thing[0] == 'bird', thing[2]))


def _is_ground(index: np.ndarray, names: list[str], x: float, y: float) -> bool:
    """Return whether (x, y) is ground; points outside of the image count as its border."""
    row = int(np.clip(y, 0, index.shape[0] - 1))
    col = int(np.clip(x, 0, index.shape[1] - 1))
    return y < 1.08 * index.shape[0] and names[index[row, col]] in GROUND


def _cast_shadow(image: np.ndarray, frame: Frame, x: float, foot: float, height: float,
                 width: int) -> None:
    """Darken the ground around a foot, away from the light, in place."""
    lean = -frame.light[0] * 0.5 * height
    half_w, half_h = 0.5 * width + 0.3 * abs(lean), max(2.0, 0.11 * width)
    middle_x, middle_y = x + 0.45 * lean, foot - 0.4 * half_h
    rows = slice(*(max(0, int(middle_y + side * 1.6 * half_h)) for side in (-1, 1)))
    cols = slice(*(max(0, int(middle_x + side * 1.6 * half_w)) for side in (-1, 1)))
    dx = (frame.x[rows, cols] - middle_x) / half_w
    dy = (frame.y[rows, cols] - middle_y) / half_h
    image[rows, cols] *= (1 - 0.5 * np.exp(-1.8 * (dx * dx + dy * dy) ** 1.5))[..., None]


def _paste(image: np.ndarray, frame: Frame, color: np.ndarray, alpha: np.ndarray, x: float,
           foot: float) -> np.ndarray:
    """Paste a sprite with its foot at (x, foot), in place; return its pixels, bool [H, W]."""
    rows, cols = alpha.shape
    top, left = round(foot) - rows + 2, round(x) - cols // 2
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + rows, frame.height), min(left + cols, frame.width)
    visible = np.zeros((frame.height, frame.width), bool)
    if y0 >= y1 or x0 >= x1:
        return visible
    part = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    target = image[y0:y1, x0:x1]
    target += alpha[part][..., None] * (np.clip(color[part], 0, 1.1) - target)
    visible[y0:y1, x0:x1] = alpha[part] > 0.5
    return visible


def _take_photo(rng: np.random.Generator, frame: Frame, image: np.ndarray) -> np.ndarray:
    """Add uneven light, exposure, blur and sensor noise."""
    across = (frame.x / frame.width - 0.5) * rng.uniform(-0.25, 0.25)
    radius = ((frame.x / frame.width - 0.5) ** 2 + (frame.y / frame.height - 0.5) ** 2)
    light = rng.uniform(0.82, 1.12) * (1 + across - rng.uniform(0, 0.4) * radius)
    image = image * light[..., None]
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 0.8))
    grain = rng.standard_normal(image.shape, np.float32)
    return image + grain * np.float32(rng.uniform(0.006, 0.028))


def _blur_border(image: np.ndarray, index: np.ndarray, width: int) -> None:
    """Blur a strip along the border and make it void, in place."""
    soft = cv2.GaussianBlur(image, (0, 0), 3.0)
    border = np.ones(index.shape, bool)
    border[width:-width, width:-width] = False
    image[border] = soft[border]
    index[border] = VOID


def _drop_slivers(index: np.ndarray, names: list[str]) -> tuple[np.ndarray, list[str]]:
    """Make segments with few visible pixels void; return the map and names without gaps."""
    areas = np.bincount(index.ravel() + 1, minlength=len(names) + 1)[1:]
    kept = areas >= MIN_AREA * index.size / (192 * 256)
    table = np.append(np.where(kept, kept.cumsum() - 1, VOID), VOID).astype(np.int32)
    return table[index], [name for name, keep in zip(names, kept) if keep]


def scene_ids(rng: np.random.Generator, names: list[str]) -> list[int]:
    """Distinct segment ids whose colors resemble those of the classes."""
    ids: list[int] = []
    for name in names:
        while True:
            color = np.asarray(PALETTE[CLASSES.index(name)])
            if name in THING_CLASSES:
                color = color + rng.integers(-40, 41, 3)
            segment_id = int(rgb2id(np.clip(color, 1, 255)))
            if segment_id not in ids:
                ids.append(segment_id)
                break
    return ids


def write_scenes(root: str | Path, split: str, count: int, size: tuple[int, int] = (192, 256),
                 seed: int = 0) -> None:
    """Write scenes as one split of a data set in COCO panoptic format.

    Files: ``annotations/panoptic_{split}.json``, ``panoptic_{split}/*.png``, ``{split}/*.jpg``. A
    scene depends only on seed, split and its number, not on ``count``.

    Args:
        root: folder of the data set.
        split: name of the split.
        count: number of scenes.
        size: (H, W) in pixels.
        seed: seed of the random numbers.
    """
    root = Path(root)
    for folder in (split, f'panoptic_{split}', 'annotations'):
        (root / folder).mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number in range(count):
        rng = np.random.default_rng([seed, *split.encode(), number])
        image, index, names = make_scene(rng, size)
        ids = scene_ids(rng, names)
        stem = f'{number:06d}'
        cv2.imwrite(str(root / split / f'{stem}.jpg'), image[..., ::-1],
                    [cv2.IMWRITE_JPEG_QUALITY, 95])
        id_map = np.append(np.asarray(ids, np.int32), 0)[index]
        write_panoptic_png(root / f'panoptic_{split}' / f'{stem}.png', id_map)
        images.append(dict(id=number, file_name=f'{stem}.jpg', height=size[0], width=size[1]))
        annotations.append(dict(
            image_id=number, file_name=f'{stem}.png',
            segments_info=[_segment_info(index == k, ids[k], name)
                           for k, name in enumerate(names)]))
    categories = [
        dict(id=k + 1, name=name, isthing=int(name in THING_CLASSES), color=list(PALETTE[k]))
        for k, name in enumerate(CLASSES)]
    (root / f'annotations/panoptic_{split}.json').write_text(strict_json.dumps(
        dict(images=images, annotations=annotations, categories=categories)))


def _segment_info(mask: np.ndarray, segment_id: int, name: str) -> dict:
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return dict(id=segment_id, category_id=CLASSES.index(name) + 1, iscrowd=0,
                area=int(mask.sum()), bbox=[x, y, width, height])


@DATASETS.register_module()
class ScenesDataset(PanopticDataset):
    """Scenes that ``python -m mmpanseg.datasets.scenes`` draws, 6 thing and 6 stuff classes."""

    METAINFO = dict(
        thing_classes=THING_CLASSES,
        stuff_classes=STUFF_CLASSES,
        palette=list(PALETTE))

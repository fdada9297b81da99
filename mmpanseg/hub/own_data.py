"""What a new config needs to know of a user's data: files, classes, counts, sizes of images.

Files are read as plain JSON, without torch and mmdet; the doctor and the data sets check the rest.
"""
import json
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from mmpanseg.engine.command_line import UsageError
from mmpanseg.hub.channel_facts import (
    ARRAY_SUFFIXES,
    READ,
    ChannelFacts,
    channel_facts,
    needs_decoding,
    read_channels,
)

TASKS = ('panoptic', 'instance', 'semantic')
# Images whose headers are read, spread evenly over the data.
SAMPLED = 256
_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm',
             *ARRAY_SUFFIXES)
# EXIF orientations 5 to 8 swap height and width.
_ORIENTATION_TAG, _FIRST_TURNED = 0x0112, 5


class SplitPaths(NamedTuple):
    """Paths of one split, relative to the folder of the data; '' for what it has not.

    Args:
        json: COCO panoptic or instance JSON.
        images: folder of images.
        maps: folder of PNGs of segment ids, or of label maps.
    """

    json: str = ''
    images: str = ''
    maps: str = ''


NO_PATHS = SplitPaths()


@dataclass(frozen=True)
class OwnData:
    """Facts of the data.

    Attributes:
        root: absolute path of the folder.
        task: one of :data:`TASKS`.
        train, val: where the files are.
        things, stuff: names of the classes by label; semantic classes are stuff.
        colors: a color for each class; () if the data have none.
        ignore_index: value of ignored pixels in label maps.
        counts: number of images for training and validation.
        most_segments: segments of the image with the most of them; None for label maps.
        sizes: (H, W) of sampled images, upright.
        classes_file: name of the file of the classes of label maps.
        channels: of the images, if they are more than colors or gray with 8 bits.
    """

    root: Path
    task: str
    train: SplitPaths
    val: SplitPaths
    things: tuple[str, ...]
    stuff: tuple[str, ...]
    colors: tuple[tuple[int, ...], ...]
    ignore_index: int
    counts: tuple[int, int]
    most_segments: int | None
    sizes: tuple[tuple[int, int], ...]
    classes_file: str = ''
    channels: ChannelFacts | None = None

    @property
    def short_side(self) -> int:
        """Median of the short sides in pixels."""
        return round(statistics.median(min(size) for size in self.sizes))

    @property
    def aspect(self) -> float:
        """Median of width / height."""
        return statistics.median(width / height for height, width in self.sizes)

    @property
    def elongation(self) -> float:
        """Long side / short side, which one image of twenty exceeds."""
        ratios = sorted(max(size) / min(size) for size in self.sizes)
        return ratios[min(len(ratios) - 1, int(0.95 * len(ratios)))]


def read_data(root: str | Path, task: str | None = None, train: SplitPaths = NO_PATHS,
              val: SplitPaths = NO_PATHS, classes: str | Path | None = None) -> OwnData:
    """Find and read the annotations in a folder.

    Args:
        root: folder of the data.
        task: one of :data:`TASKS`; None: the first one with annotations.
        train: paths, instead of those of the layout.
        val: the same for validation.
        classes: ``classes.json`` or a text file with a name per line, for label maps.

    Raises:
        UsageError: there are no data for the task, or a file is wrong; in one line.
    """
    root = Path(root).expanduser().resolve()
    if not root.is_dir():
        raise UsageError(f'{root} is no folder: name the folder of the data, e.g. the one that '
                         '`mmpanseg import` wrote')
    task, train, val = _find_task(root, task, train, val)
    if task == 'semantic':
        return _read_semantic(root, train, val, classes)
    return _read_jsons(root, task, train, val)


def _find_task(root: Path, task: str | None, train: SplitPaths,
               val: SplitPaths) -> tuple[str, SplitPaths, SplitPaths]:
    if any(train) or any(val):
        if not train.json and not train.maps:
            raise UsageError('--train-json (with --train-images) or --train-images and '
                             '--train-maps must name the annotations')
        task = task or ('semantic' if not train.json else 'panoptic' if train.maps else 'instance')
        for option, paths in (('train', train), ('val', val)):
            for key in _NEEDED[task]:
                if not getattr(paths, key):
                    raise UsageError(f'--{option}-{key} is missing: the task {task} needs '
                                     f'{", ".join(f"--{option}-{k}" for k in _NEEDED[task])}')
        return task, train, val
    found = {name: _layout(root, name, 'train') for name in TASKS}
    existing = [name for name, paths in found.items() if paths is not None]
    if not existing:
        raise UsageError(f'{root} has neither panoptic_train.json nor instances_train.json nor '
                         'labels/train: run `mmpanseg import` first, or name the files with '
                         '--train-json, --train-images and --train-maps')
    if task is None:
        task = existing[0]
        if task == 'panoptic' and 'instance' in existing and _only_things(root, found[task]):
            task = 'instance'
    elif task not in existing:
        raise UsageError(f'{root} has no annotations for the task {task} '
                         f'({_EXPECTED[task]}); it has those for {", ".join(existing)}')
    own, held_out = found[task], _layout(root, task, 'val')
    if held_out is None:
        raise UsageError(f'{root} has images for training only ({_EXPECTED[task]} for val is '
                         'missing): import with --val 0.2, or name the files with --val-json, '
                         '--val-images and --val-maps')
    assert own is not None
    return task, own, held_out


_NEEDED = {'panoptic': ('json', 'images', 'maps'), 'instance': ('json', 'images'),
           'semantic': ('images', 'maps')}
_EXPECTED = {'panoptic': 'panoptic_{split}.json', 'instance': 'instances_{split}.json',
             'semantic': 'labels/{split}'}


def _layout(root: Path, task: str, split: str) -> SplitPaths | None:
    """Paths of a split in the layout of the import, or in that of the data sets here."""
    images = next((name for name in (f'images/{split}', split) if (root / name).is_dir()),
                  f'images/{split}')
    if task == 'semantic':
        maps = next((name for name in (f'labels/{split}', f'semantic_{split}')
                     if (root / name).is_dir()), '')
        return SplitPaths('', images, maps) if maps else None
    stem = 'panoptic' if task == 'panoptic' else 'instances'
    file = next((name for name in (f'{stem}_{split}.json', f'annotations/{stem}_{split}.json')
                 if (root / name).is_file()), '')
    if not file:
        return None
    maps = ''
    if task == 'panoptic':
        beside = file.removesuffix('.json')
        maps = next((name for name in (beside, f'panoptic_{split}') if (root / name).is_dir()),
                    beside)
    return SplitPaths(file, images, maps)


def _only_things(root: Path, paths: SplitPaths | None) -> bool:
    assert paths is not None
    categories = _read_json(root / paths.json).get('categories', [])
    return bool(categories) and all(item.get('isthing') for item in categories)


def _read_jsons(root: Path, task: str, train: SplitPaths, val: SplitPaths) -> OwnData:
    content, held_out = _read_json(root / train.json), _read_json(root / val.json)
    for paths, part in ((train, content), (val, held_out)):
        for key in ('images', 'annotations', 'categories'):
            if not part.get(key):
                raise UsageError(f'{root / paths.json} has no {key}: not a COCO {task} JSON with '
                                 'ground truth; `mmpanseg doctor` lists what is wrong')
    categories, file = content['categories'], root / train.json
    names = _names(categories, file)
    if {item.get('name') for item in held_out['categories']} != set(names):
        raise UsageError(f'{file} and {root / val.json} have different categories: give both the '
                         'same list')
    annotations = content['annotations']
    if task == 'panoptic':
        if 'segments_info' not in annotations[0]:
            raise UsageError(f'{file} is a COCO instance JSON: its task is instance (--task '
                             'instance)')
        if any('isthing' not in item for item in categories):
            raise UsageError(f'{file}: categories have no isthing: `mmpanseg doctor --fix` adds it')
        is_thing = [bool(item['isthing']) for item in categories]
        segments = max(len(item.get('segments_info', ())) for item in annotations)
    else:
        if 'segments_info' in annotations[0]:
            raise UsageError(f'{file} is a COCO panoptic JSON: its task is panoptic (--task '
                             'panoptic, and --train-maps for its PNGs)')
        is_thing = [True] * len(names)
        segments = max(Counter(item.get('image_id') for item in annotations).values())
    order = [k for k, thing in enumerate(is_thing) if thing]
    order += [k for k, thing in enumerate(is_thing) if not thing]
    colors = [categories[k].get('color') for k in order]
    files = [str(item.get('file_name', '')) for item in content['images']]
    num_things = sum(is_thing)
    sampled = _paths(root / train.images, files)
    return OwnData(
        root, task, train, val,
        things=tuple(names[k] for k in order[:num_things]),
        stuff=tuple(names[k] for k in order[num_things:]),
        colors=_colors(colors), ignore_index=255,
        counts=(len(files), len(held_out['images'])), most_segments=segments,
        sizes=_sizes(sampled), channels=channel_facts(sampled))


def _read_semantic(root: Path, train: SplitPaths, val: SplitPaths,
                   classes: str | Path | None) -> OwnData:
    file = root / (classes or 'classes.json')
    if not file.is_file():
        raise UsageError(f'{file} does not exist: label maps contain no names; write them in the '
                         'order of the labels, one per line, and name the file with --classes')
    if file.suffix == '.json':
        content: Any = json.loads(_read_text(file, check_json=True))
    else:
        content = [line.strip() for line in _read_text(file).splitlines() if line.strip()]
    ignore_index = None
    if isinstance(content, dict):
        ignore_index = content.get('ignore_index')
        content = content.get('classes', [])
    entries = [item if isinstance(item, dict) else dict(name=item) for item in content]
    names = _names(entries, file)
    counts = []
    for paths in (train, val):
        for name in (paths.images, paths.maps):
            if not (root / name).is_dir():
                raise UsageError(f'{root / name} is no folder: the task semantic needs images and '
                                 'label maps of the same names')
        counts.append(len(_list_images(root / paths.images)))
        if not counts[-1]:
            raise UsageError(f'{root / paths.images} has no image')
    images = _paths(root / train.images, _list_images(root / train.images))
    return OwnData(
        root, 'semantic', train, val, things=(), stuff=tuple(names),
        colors=_colors([item.get('color') for item in entries]),
        ignore_index=255 if ignore_index is None else ignore_index,
        counts=(counts[0], counts[1]), most_segments=None,
        sizes=_sizes(images), classes_file=file.name, channels=channel_facts(images))


def _read_json(path: Path) -> dict[str, Any]:
    content = json.loads(_read_text(path, check_json=True))
    if not isinstance(content, dict):
        raise UsageError(f'{path} is a list: not a COCO JSON, which has images, annotations and '
                         'categories')
    return content


def _read_text(path: Path, check_json: bool = False) -> str:
    try:
        text = path.read_text(encoding='utf-8-sig')
        if check_json:
            json.loads(text)
        return text
    except FileNotFoundError as error:
        raise UsageError(f'{path} does not exist: correct its path') from error
    except (OSError, ValueError) as error:
        raise UsageError(f'{path} cannot be read: {" ".join(str(error).split())}') from error


def _names(entries: Sequence[dict], file: Path) -> list[str]:
    names = [item.get('name') for item in entries]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise UsageError(f'{file}: every class needs a name')
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UsageError(f'{file}: the class {twice[0]} appears twice')
    return [str(name) for name in names]


def _colors(colors: Sequence[Any]) -> tuple[tuple[int, ...], ...]:
    complete = all(isinstance(color, list) and len(color) == 3 for color in colors)
    return tuple(tuple(map(int, color)) for color in colors) if complete else ()


def _list_images(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*')
                  if path.suffix.lower() in _SUFFIXES and not path.name.startswith('.'))


def _paths(folder: Path, files: Sequence[str]) -> list[Path]:
    """Return sampled images, spread evenly over the data."""
    return [folder / name.replace('\\', '/') for name in files[::-(-len(files) // SAMPLED)]]


def _sizes(paths: Sequence[Path]) -> tuple[tuple[int, int], ...]:
    """Sizes of images from their headers, upright."""
    sizes = [size for path in paths if (size := _read_size(path))]
    if not sizes:  # arrays have no header that Pillow reads
        sizes = [read_channels(path).shape[:2] for path in paths[::-(-len(paths) // READ)]
                 if needs_decoding(path) and path.is_file()]
    if not sizes:
        raise UsageError(f'none of {len(paths)} images can be read, for instance {paths[0]}: '
                         'correct the folder of images')
    return tuple(sizes)


def _read_size(path: Path) -> tuple[int, int] | None:
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION_TAG, 1) >= _FIRST_TURNED
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    return (width, height) if turned else (height, width)

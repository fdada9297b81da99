"""Images and their maps in folders, matched by name."""
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from mmpanseg.importers.source_image import SourceError
from mmpanseg.importers.split import SPLIT_NAMES, standard_split
from mmpanseg.structures.image_file import IMAGE_SUFFIXES

# usual names of folders, in lower case; the first one that exists is taken
IMAGE_FOLDERS = ('images', 'image', 'imgs', 'img', 'jpegimages', 'photos', 'rgb', 'leftimg8bit',
                 'data')
LABEL_FOLDERS = ('labels', 'label', 'masks', 'mask', 'annotations', 'annotation', 'semantic',
                 'segmentation', 'segmentationclass', 'label_maps', 'gt', 'ground_truth', 'annot')
INSTANCE_FOLDERS = ('instances', 'instance', 'instance_maps', 'segmentationobject', 'objects',
                    'instance_masks')
_OPTIONS = {'label maps': '--annotations', 'instance maps': '--instances'}


def list_files(folder: Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> list[Path]:
    """List files with these endings in a folder and its subfolders, sorted, without hidden ones."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith('.')
                            and name != '__MACOSX')
        found += [Path(parent, name) for name in names
                  if not name.startswith('.') and name.lower().endswith(tuple(suffixes))]
    return sorted(found)


class MapPair(NamedTuple):
    """An image with its maps: relative name, split of the source, image, maps in asked order."""

    name: str
    split: str
    image: Path
    maps: tuple[Path, ...]


def find_pairs(src: Path, kinds: Sequence[tuple[str, Sequence[str], Path | None]],
               images: Path | None = None, suffix: str | None = None) -> list[MapPair]:
    """Find images with their maps (labels, instances).

    Known layouts: ``images/`` and ``labels/``, both with or without folders ``train``, ``val``;
    ``train/images/`` and ``train/labels/``; ``train/`` and ``trainannot/`` or ``train_labels/``.
    A map has the name of its image, with an ending that is the same for all (``_L.png``).

    Args:
        src: folder of the source.
        kinds: for each kind of maps its word in error texts, the usual names of its folder, and the
            folder that the user gave, or None.
        images: the folder of images that the user gave, or None.
        suffix: ending of the names of maps after the name of the image; None: found.

    Raises:
        SourceError: a folder or a map is missing, or an ending is not clear.
    """
    given = images is not None or any(folder is not None for _, _, folder in kinds)
    if given or _subfolder(src, IMAGE_FOLDERS):
        found = images or _subfolder(src, IMAGE_FOLDERS) or src
        folders = [folder or _subfolder(src, names) for _, names, folder in kinds]
        return _pairs_by_split(found, folders, kinds, src, suffix)
    pairs = []
    for folder in _folders(src):
        if folder.name.lower() not in SPLIT_NAMES:
            continue
        inner = _subfolder(folder, IMAGE_FOLDERS)
        maps = ([_subfolder(folder, names) for _, names, _ in kinds] if inner else
                [_beside(folder, names) for _, names, _ in kinds])
        pairs += _pairs(inner or folder, maps, kinds, folder, suffix, standard_split(folder.name))
    if not pairs:
        raise SourceError(f'{src} has no folder of images ({", ".join(IMAGE_FOLDERS[:4])}, '
                          'train); name it with --images')
    return pairs


def _pairs_by_split(images: Path, maps: Sequence[Path | None],
                    kinds: Sequence[tuple[str, Sequence[str], Path | None]], src: Path,
                    suffix: str | None) -> list[MapPair]:
    """Find pairs in folders that may have one subfolder for each split."""
    splits = [folder for folder in _folders(images) if folder.name.lower() in SPLIT_NAMES]
    if not splits or any(path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES
                         for path in images.iterdir()):
        return _pairs(images, maps, kinds, src, suffix, '')
    pairs = []
    for folder in splits:
        inside = [one and _subfolder(one, (folder.name.lower(), standard_split(folder.name)))
                  for one in maps]
        pairs += _pairs(folder, inside, kinds, src, suffix, standard_split(folder.name))
    return pairs


def _pairs(images: Path, maps: Sequence[Path | None],
           kinds: Sequence[tuple[str, Sequence[str], Path | None]], src: Path,
           suffix: str | None, split: str) -> list[MapPair]:
    for (word, names, _), folder in zip(kinds, maps):
        if folder is None:
            raise SourceError(f'{src} has no folder of {word} for {images} (usual names are '
                              f'{", ".join(names[:4])}); name it with {_OPTIONS[word]}')
        if not folder.is_dir():
            raise SourceError(f'{folder}: no such folder of {word}')
    if not images.is_dir():
        raise SourceError(f'{images}: no such folder of images')
    files = list_files(images)
    folders = [folder for folder in maps if folder is not None]
    if any(folder.resolve() == images.resolve() for folder in folders) and suffix is not None:
        files = [file for file in files if not file.name.endswith(suffix)]
    if not files:
        raise SourceError(f'{images} has no image')
    columns = [_match(files, images, folder, word, suffix)
               for (word, _, _), folder in zip(kinds, folders)]
    return [MapPair(file.relative_to(images).as_posix(), split, file, row)
            for file, row in zip(files, zip(*columns))]


def _match(files: Sequence[Path], images: Path, folder: Path, word: str,
           suffix: str | None) -> list[Path]:
    """Return the map of each image."""
    maps = {path.relative_to(folder).as_posix(): path for path in list_files(folder)}
    stems = [file.relative_to(images).with_suffix('').as_posix() for file in files]
    suffixes = [suffix] if suffix is not None else _suffixes(stems, maps, word, folder)
    result = []
    for file, stem in zip(files, stems):
        found = next((maps[stem + ending] for ending in suffixes if stem + ending in maps), None)
        if found is None:
            raise SourceError(f'{folder / (stem + suffixes[0])} does not exist, the {word} of '
                              f'{file}; add it, or remove the image')
        result.append(found)
    return result


def _suffixes(stems: Sequence[str], maps: Iterable[str], word: str, folder: Path) -> list[str]:
    """Return the endings of maps; the plain ones if there are any."""
    plain = [ending for ending in ('.png', '.PNG', '.tif', '.tiff', '.bmp')
             if any(stem + ending in maps for stem in stems)]
    if plain:
        return plain
    # longer names may begin with the name of another image
    endings = {name[len(stems[0]):] for name in maps if name.startswith(stems[0])
               and re.match(r'\D', name[len(stems[0]):])}
    common = sorted(ending for ending in endings
                    if all(stem + ending in maps for stem in stems))
    if len(common) > 1:
        raise SourceError(f'{folder}: the {word} may end in {" or ".join(common)}; choose with '
                          '--label-suffix')
    return common or ['.png']


def _folders(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []


def _subfolder(folder: Path, names: Sequence[str]) -> Path | None:
    found = {path.name.lower(): path for path in _folders(folder)}
    return next((found[name] for name in names if name in found), None)


def _beside(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the folder ``trainannot``, ``train_labels`` or ``train-masks`` beside ``train``."""
    name = folder.name.lower()
    return _subfolder(folder.parent, [f'{name}{joint}{other}' for other in names
                                      for joint in ('', '_', '-')])

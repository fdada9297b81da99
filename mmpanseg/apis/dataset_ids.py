"""Image and category ids of saved predictions."""
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import mmengine.fileio as fileio
from mmengine.dataset import BaseDataset

from mmpanseg.datasets.annotation_file import (
    IMAGE_ID,
    TEXT,
    column,
    read_annotation_file,
    read_categories,
)

PathLike = str | os.PathLike


class KnownImage(NamedTuple):
    """An image in an annotation file.

    Attributes:
        id: its id there.
        file_name: its path relative to the image folder of the data set.
    """
    id: int | str
    file_name: str


class AnnotationFile(NamedTuple):
    """An annotation file without a data set.

    Attributes:
        ann_file: path of the JSON.
        data_prefix: dict(img=folder of the images), or empty if it is unknown.
        backend_args: arguments of mmengine's file backend.
    """
    ann_file: str
    data_prefix: dict
    backend_args: dict | None = None


class DatasetIds:
    """Ids of a data set, so that predictions for its images can be evaluated with its annotations.

    Ids are read from the COCO JSON of the data set at first use. Categories are identified by the
    names of their classes. Without the JSON, category ids are those of ``label2cat``. Classes
    without an id get those after the largest known id, from 1 on.

    Args:
        classes: class names by label.
        label2cat: label -> category id, as in the metainfo of data sets.
        dataset: data set with ``ann_file`` and ``data_prefix``; it can be not loaded yet. Or an
            annotation file alone.

    Raises:
        ValueError: the JSON is invalid; the text names it.
    """

    def __init__(self, classes: Sequence[str], label2cat: Mapping[int, int] | None = None,
                 dataset: BaseDataset | AnnotationFile | None = None) -> None:
        self.classes = classes
        self.label2cat = label2cat or {}
        self._dataset = dataset
        self._content: dict | None = None
        self._by_name: dict[str, list[dict]] = {}

    @property
    def content(self) -> dict:
        """``images`` and ``categories`` of the JSON; an empty dict without a JSON."""
        return self._read()

    @property
    def categories(self) -> list:
        """Category ids by label."""
        known = {category['name']: category['id']
                 for category in self._read().get('categories', [])}
        ids = [known.get(name, self.label2cat.get(label) if not known else None)
               for label, name in enumerate(self.classes)]
        following = max((number for number in (*ids, *known.values())
                         if isinstance(number, int)), default=0)
        for label, number in enumerate(ids):
            if number is None:
                following += 1
                ids[label] = following
        return ids

    def image(self, path: PathLike, size: tuple[int, int]) -> KnownImage | None:
        """Find the image of the data set that a file is.

        A file outside the data set's folder is identified with an image if its path ends with the
        file name of that image and of no other one, and the sizes are equal.

        Args:
            path: path or URL of the file.
            size: (H, W) in pixels.

        Returns:
            the image; None if the file is none of the data set.
        """
        content = self._read()
        if self._dataset is None or not content.get('images'):
            return None
        prefix = self._dataset.data_prefix.get(
            'img', self._dataset.data_prefix.get('img_path', ''))
        path = _plain(path)
        entries = self._entries(path)
        same = [entry for entry in entries
                if _plain(os.path.join(prefix, entry['file_name'])) == path]
        if not same and len(entries) == 1 and (
                entries[0].get('height'), entries[0].get('width')) == tuple(size):
            same = entries
        return KnownImage(same[0]['id'], same[0]['file_name']) if len(same) == 1 else None

    def lists(self, path: PathLike) -> bool:
        """Whether the path of an image ends with the file name of one of the data set."""
        self._read()
        return bool(self._entries(_plain(path)))

    @property
    def first_free_image(self) -> int:
        """Smallest image id above those of the data set."""
        numbers = [entry['id'] for entry in self._read().get('images', [])]
        return max((number for number in numbers if isinstance(number, int)), default=-1) + 1

    def _entries(self, path: str) -> list[dict]:
        """Entries whose file name a path ends with."""
        return [entry for entry in self._by_name.get(Path(path).name, ())
                if f'/{path}'.endswith(f'/{_plain_name(entry)}')]

    def _read(self) -> dict:
        """Read ``images`` and ``categories`` of the JSON; an empty dict without a JSON."""
        if self._content is not None:
            return self._content
        self._content = {}
        path = getattr(self._dataset, 'ann_file', '')
        backend_args = getattr(self._dataset, 'backend_args', None)
        if not path or not fileio.exists(path, backend_args=backend_args) or (
                not str(path).lower().endswith('.json')):
            return self._content
        try:
            content = read_annotation_file(path, (), 'panoptic', backend_args)
            if not isinstance(content, dict):
                return self._content
            found = dict(
                categories=[c for c in content.get('categories', []) if {'id', 'name'} <= set(c)],
                images=[i for i in content.get('images', []) if {'id', 'file_name'} <= set(i)])
            read_categories(path, found['categories'])
            column(path, 'image', found['images'], 'id', IMAGE_ID)
            column(path, 'image', found['images'], 'file_name', TEXT)
        except ValueError as error:
            raise ValueError(f'{error}: repair it, since saved predictions get its image and '
                             'category ids') from error
        self._content = found
        by_name = defaultdict(list)
        for entry in found['images']:
            by_name[Path(_plain_name(entry)).name].append(entry)
        self._by_name = dict(by_name)
        return self._content


def _plain(path: PathLike) -> str:
    """A path in absolute form with forward slashes; URLs unchanged."""
    path = os.fspath(path)
    return (path if '://' in path else os.path.abspath(path)).replace('\\', '/')


def _plain_name(entry: dict) -> str:
    """The file name of an image in an annotation file, normalized, with forward slashes."""
    return os.path.normpath(entry['file_name']).replace('\\', '/').lstrip('/')

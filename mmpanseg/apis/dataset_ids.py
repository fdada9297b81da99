"""Image and category ids that saved predictions carry."""
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import mmengine.fileio as fileio
from mmengine.dataset import BaseDataset

PathLike = str | os.PathLike


class KnownImage(NamedTuple):
    """An image as the annotation file lists it: its id, and its file name below the data set."""
    id: int | str
    file_name: str


class DatasetIds:
    """Ids of a data set, so that predictions for its images can be scored against it.

    They are read from the COCO JSON of a data set when first asked for. Categories are found by
    the names of their classes. Where the JSON is not there, or lacks a class, category ids come
    from ``label2cat``, else they go on behind the known ones, from 1.

    Args:
        classes: names by label.
        label2cat: label -> category id, as in the metainfo of data sets.
        dataset: with ``ann_file`` and ``data_prefix``; not loaded yet is enough.

    Raises:
        ValueError: the JSON is broken; the text names it.
    """

    def __init__(self, classes: Sequence[str], label2cat: Mapping[int, int] | None = None,
                 dataset: BaseDataset | None = None) -> None:
        self.classes = classes
        self.label2cat = label2cat or {}
        self._dataset = dataset
        self._content: dict | None = None
        self._by_name: dict[str, list[dict]] = {}

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
        """The data set's image at a path, None where it is another one.

        An image elsewhere is taken for the data set's if the end of its path is the file name
        there, no other image's ends so, and it has the same size (H, W).
        """
        content = self._read()
        if not content.get('images'):
            return None
        prefix = self._dataset.data_prefix.get(
            'img', self._dataset.data_prefix.get('img_path', ''))
        path = _plain(path)
        entries = [entry for entry in self._by_name.get(Path(path).name, ())
                   if f'/{path}'.endswith(f'/{_plain_name(entry)}')]
        same = [entry for entry in entries
                if _plain(os.path.join(prefix, entry['file_name'])) == path]
        if not same and len(entries) == 1 and (
                entries[0].get('height'), entries[0].get('width')) == tuple(size):
            same = entries
        return KnownImage(same[0]['id'], same[0]['file_name']) if len(same) == 1 else None

    @property
    def first_free_image(self) -> int:
        """An image id above those of the data set."""
        numbers = [entry['id'] for entry in self._read().get('images', [])]
        return max((number for number in numbers if isinstance(number, int)), default=-1) + 1

    def _read(self) -> dict:
        """``images`` and ``categories`` of the JSON, nothing where there is none."""
        if self._content is not None:
            return self._content
        self._content = {}
        path = getattr(self._dataset, 'ann_file', '')
        backend_args = getattr(self._dataset, 'backend_args', None)
        if not path or not fileio.exists(path, backend_args=backend_args) or (
                not str(path).lower().endswith('.json')):
            return self._content
        try:
            content = fileio.load(path, file_format='json', backend_args=backend_args)
        except ValueError as error:
            raise ValueError(f'{path} is not valid JSON ({error}): saved predictions carry its '
                             'image and category ids') from error
        if isinstance(content, dict):
            self._content = dict(
                categories=[c for c in content.get('categories', []) if {'id', 'name'} <= set(c)],
                images=[i for i in content.get('images', []) if {'id', 'file_name'} <= set(i)])
            by_name = defaultdict(list)
            for entry in self._content['images']:
                by_name[Path(_plain_name(entry)).name].append(entry)
            self._by_name = dict(by_name)
        return self._content


def _plain(path: PathLike) -> str:
    path = os.fspath(path)
    return (path if '://' in path else os.path.abspath(path)).replace('\\', '/')


def _plain_name(entry: dict) -> str:
    return os.path.normpath(entry['file_name']).replace('\\', '/').lstrip('/')

"""Prediction files of an inferencer, in COCO's formats."""
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from mmpanseg.apis.dataset_ids import DatasetIds, KnownImage
from mmpanseg.structures.label_image import read_label_image
from mmpanseg.structures.panoptic_png import read_panoptic_png, write_panoptic_png
from mmpanseg.structures.result_file_names import ResultNames
from mmpanseg.utils import strict_json
from mmpanseg.utils.atomic_files import append_line, result_file

IMAGES, PANOPTIC, INSTANCES = 'images.json', 'panoptic.json', 'instances.json'
# one line for each image whose predictions are not in the JSON files yet
JOURNAL = 'unfinished.jsonl'
SEMANTIC = '_semantic'


Content = TypeVar('Content', dict, list)


class SavedPrediction(dict):
    """A prediction with its arrays, ``panoptic_seg`` and ``sem_seg``, in files.

    ``panoptic_seg_path`` and ``sem_seg_path`` are their paths; each access to
    ``prediction['panoptic_seg']`` reads the file.
    """

    def __missing__(self, key: str) -> np.ndarray:
        if key == 'panoptic_seg' and 'panoptic_seg_path' in self:
            return read_panoptic_png(self['panoptic_seg_path'])
        if key == 'sem_seg' and 'sem_seg_path' in self:
            return read_label_image(self['sem_seg_path']).astype(np.int32)
        raise KeyError(key)


class PredictionFiles:
    """Writes the predictions for images to one folder.

    - panoptic: a PNG of `panoptic_seg` in COCO's color coding, {name}.png, and panoptic.json with
      the segments of all PNGs;
    - instances: instances.json, a list of results in COCO's format, masks as run lengths;
    - semantic: a PNG of the labels, {name}_semantic.png, 16 bit from 257 classes on;
    - images.json: the ids of the images, and the categories.

    Names are those of :class:`ResultNames`. :meth:`finish` writes the JSON files; until then their
    entries are in a journal. After an interrupted run, the next run that writes to the folder adds
    the journal's entries to the JSON files. Several runs can write to a folder: the JSON files list
    the images of all of them, with the last prediction for each.

    Args:
        folder: output folder; created when needed.
        ids: ids of images and categories. Images outside the data set get further ids.
        num_things: labels below are things.

    Raises:
        ValueError: the folder has results of other categories.
    """

    def __init__(self, folder: Path, ids: DatasetIds, num_things: int) -> None:
        self.folder = folder
        self.ids = ids
        self.category_ids = ids.categories
        self.categories = [dict(id=number, name=name, isthing=int(label < num_things))
                           for label, (number, name) in enumerate(zip(
                               self.category_ids, ids.classes))]
        # entries of an interrupted run
        self.finish()
        known = self._load(IMAGES, {})
        if known.get('categories', self.categories) != self.categories:
            raise ValueError(f'{folder} has results with other categories than this model; '
                             'write to another folder, or remove it')
        images = known.get('images', [])
        self._names = ResultNames(suffixes=('', SEMANTIC), used={
            image['source']: image['name'] for image in images})
        self._used = {image['id']: image['name'] for image in images}
        self._numbers = {image['name']: image['id'] for image in reversed(images)}
        numbers = [number for number in self._used if isinstance(number, int)]
        self._free = max([ids.first_free_image, *(number + 1 for number in numbers)])

    def announce(self, sources: Iterable[str]) -> None:
        """Choose names for the images of a call; they depend on all of them.

        Args:
            sources: paths or URLs of the images.
        """
        self._names.add(sources)

    def write(self, source: str | None, size: tuple[int, int], prediction: dict,
              name: str | None = None, image: KnownImage | None = None) -> SavedPrediction:
        """Write one prediction.

        Args:
            source: path of the image; None for an array.
            size: (H, W) of the image.
            prediction: dict of an image as :class:`PanopticInferencer` returns it.
            name: name of the results, which no other image has (default: chosen here).
            image: id and file name of the image (default: those of ``ids``).

        Returns:
            the prediction, with paths of files in place of its arrays.

        Raises:
            ValueError: a score is not finite; the text names the image.
        """
        if name is None:
            name = self._names.unnamed() if source is None else self._names.of(source)
        saved = SavedPrediction(prediction)
        listed = self._image(name, source, size, image)
        entry: dict[str, Any] = dict(image=listed)
        if 'instances' in prediction:
            entry['instances'] = [self._coco_result(listed, found)
                                  for found in prediction['instances']]
        if 'panoptic_seg' in prediction:
            ids = saved.pop('panoptic_seg')
            entry['annotation'] = self._annotation(listed, prediction['segments_info'], ids)
            saved['panoptic_seg_path'] = str(self.folder / f'{name}.png')
            write_panoptic_png(saved['panoptic_seg_path'], ids)
        if 'sem_seg' in prediction:
            path = self.folder / f'{name}{SEMANTIC}.png'
            kind = np.uint8 if len(self.categories) <= 256 else np.uint16
            with result_file(path) as part:
                Image.fromarray(saved.pop('sem_seg').astype(kind)).save(part)
            saved['sem_seg_path'] = str(path)
        try:
            line = strict_json.dumps(entry)
        except ValueError as error:
            raise ValueError(f'{source or name}: a predicted score or box is not finite, which '
                             'JSON cannot represent; check the weights and the image') from error
        append_line(self.folder / JOURNAL, line)
        return saved

    def finish(self) -> None:
        """Move the entries of the journal to the JSON files."""
        journal = self.folder / JOURNAL
        if not journal.is_file():
            return
        last = {entry['image']['id']: number for number, entry in enumerate(_entries(journal))}

        def new(key: str) -> Iterator:
            for number, entry in enumerate(_entries(journal)):
                if key in entry and last[entry['image']['id']] == number:
                    yield entry[key]

        images = {image['id']: image for image in (
            *self._load(IMAGES, {}).get('images', []), *new('image'))}
        head = dict(images=list(images.values()), categories=self.categories)
        _write(self.folder / IMAGES, head)
        replaced = {annotation['image_id'] for annotation in new('annotation')}
        kept = [annotation for annotation in self._load(PANOPTIC, {}).get('annotations', [])
                if annotation['image_id'] not in replaced]
        if kept or replaced:
            _write(self.folder / PANOPTIC, head, 'annotations',
                   itertools.chain(kept, new('annotation')))
        replaced = {entry['image']['id'] for entry in _entries(journal) if 'instances' in entry}
        kept = [result for result in self._load(INSTANCES, [])
                if result['image_id'] not in replaced]
        if kept or replaced:
            _write(self.folder / INSTANCES, None, '', itertools.chain(
                kept, itertools.chain.from_iterable(new('instances'))))
        journal.unlink()

    def _load(self, name: str, default: Content) -> Content:
        """Content of a JSON file; ``default`` if the file does not exist."""
        path = self.folder / name
        if not path.is_file():
            return default
        try:
            content = json.loads(path.read_text(encoding='utf-8'),
                                 parse_constant=strict_json.refuse_constant)
        except ValueError as error:
            raise ValueError(f'{path} is not valid JSON ({error}), so no results can be added to '
                             'it; write to another folder, or remove it') from error
        key = {IMAGES: 'images', PANOPTIC: 'annotations'}.get(name)
        entries = content
        if key is not None:
            entries = content.get(key, []) if isinstance(content, dict) else None
        _check_entries(path, key, entries,
                       ('id', 'name', 'source') if name == IMAGES else ('image_id', ))
        return content

    def _image(self, name: str, source: str | None, size: tuple[int, int],
               known: KnownImage | None = None) -> dict:
        """Entry of an image in images.json; images of the data set get their id there."""
        if known is None and source is not None:
            known = self.ids.image(source, size)
        number: int | str
        if known is not None and self._used.get(known.id, name) == name:
            number, file_name = known
        else:
            file_name = source or f'{name}.png'
            number = self._numbers.get(name, self._free)
            if number == self._free:
                self._free += 1
        self._used[number] = name
        self._numbers.setdefault(name, number)
        origin = f'{name}.png' if source is None else source
        return dict(id=number, file_name=file_name, height=size[0], width=size[1], name=name,
                    source=origin if '://' in origin else os.path.abspath(origin))

    def _annotation(self, image: dict, segments: list[dict], ids: np.ndarray) -> dict:
        """Entry of a panoptic prediction in panoptic.json."""
        areas = np.bincount(ids.ravel(), minlength=len(segments) + 1)
        return dict(image_id=image['id'], file_name=f'{image["name"]}.png', segments_info=[
            dict(id=segment['id'], category_id=self.category_ids[segment['label']], iscrowd=0,
                 area=int(areas[segment['id']]), score=segment['score'])
            for segment in segments])

    def _coco_result(self, image: dict, found: dict) -> dict:
        """Entry of an instance in instances.json.

        Without a box: pycocotools would take its area for that of the mask, in AP by size, too.
        """
        return dict(image_id=image['id'], category_id=self.category_ids[found['label']],
                    score=found['score'], segmentation=found['mask'])


def _check_entries(path: Path, key: str | None, entries: object, wanted: tuple[str, ...]) -> None:
    """Raise a ValueError unless the entries of a file are those that a run writes."""
    where = f'{path}: "{key}"' if key else str(path)
    if not isinstance(entries, list):
        raise ValueError(f'{where} is no list, so no results can be added to it; write to another '
                         'folder, or remove the file')
    for number, entry in enumerate(entries):
        for name in wanted:
            kinds = (int, str) if name.endswith('id') else (str, )
            if not isinstance(entry, dict) or type(entry.get(name)) not in kinds:
                raise ValueError(
                    f'{where}: entry {number} has no valid "{name}", so no results can be added to '
                    'it; write to another folder, or remove the file')


def _entries(journal: Path) -> Iterator[dict]:
    """Entries of a journal, one per written image; incomplete ones are left out."""
    with open(journal, encoding='utf-8') as file:
        for line in file:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            yield entry


def _write(path: Path, head: dict | None, key: str = '', items: Iterable[dict] = ()) -> None:
    """Write a JSON file, one item per line, and move it to its place when it is complete.

    Args:
        path: of the file.
        head: dict to write; None to write the list of items.
        key: key of the items in the dict; without, no items are written.
        items: entries of the list.
    """
    with result_file(path) as part, open(part, 'w', encoding='utf-8') as file:
        if head is not None:
            file.write(strict_json.dumps(head)[:-1])
        if head is None or key:
            file.write('[' if head is None else f', {strict_json.dumps(key)}: [')
            for number, item in enumerate(items):
                file.write((',\n' if number else '\n') + strict_json.dumps(item))
            file.write('\n]')
        file.write('}' if head is not None else '')

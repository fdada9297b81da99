"""Predictions of an inferencer as files in COCO's formats."""
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from mmpanseg.apis.dataset_ids import DatasetIds
from mmpanseg.structures.label_image import read_label_image
from mmpanseg.structures.panoptic_png import read_panoptic_png, write_panoptic_png
from mmpanseg.structures.result_file_names import ResultNames

IMAGES, PANOPTIC, INSTANCES = 'images.json', 'panoptic.json', 'instances.json'
# what is known of images whose predictions the JSON files do not list yet, a line for each
JOURNAL = 'unfinished.jsonl'
SEMANTIC = '_semantic'


class SavedPrediction(dict):
    """A prediction whose arrays, ``panoptic_seg`` and ``sem_seg``, lie in files.

    ``panoptic_seg_path`` and ``sem_seg_path`` say where; ``prediction['panoptic_seg']`` reads the
    file each time.
    """

    def __missing__(self, key: str) -> np.ndarray:
        if key == 'panoptic_seg' and 'panoptic_seg_path' in self:
            return read_panoptic_png(self['panoptic_seg_path'])
        if key == 'sem_seg' and 'sem_seg_path' in self:
            return read_label_image(self['sem_seg_path']).astype(np.int32)
        raise KeyError(key)


class PredictionFiles:
    """Writes the predictions for images to one folder.

    - panoptic: a PNG of `panoptic_seg` in COCO's color coding, {name}.png, and panoptic.json that
      describes the PNGs;
    - instances: instances.json, a list of results in COCO's format, masks as run lengths;
    - semantic: a PNG of the labels, {name}_semantic.png, 16 bit from 257 classes on;
    - images.json: which image has which id, and the categories.

    Names are those of :class:`ResultNames`. The JSON files are written by :meth:`finish`; until
    then a journal keeps their entries, and the next run that writes to the folder takes over the
    journal of one that broke off. Several runs may write to a folder: the JSON files list the
    images of all of them, an image predicted again with its last prediction.

    Args:
        folder: where to; made when needed.
        ids: of images and categories. Images that are not the data set's have further ids.
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
        # of a run that broke off
        self.finish()
        known = self._load(IMAGES)
        if known.get('categories', self.categories) != self.categories:
            raise ValueError(f'{folder} has results of other categories than those of this model; '
                             'write to another folder, or remove it')
        images = known.get('images', [])
        self._names = ResultNames(suffixes=('', SEMANTIC), used={
            image['source']: image['name'] for image in images})
        self._used = {image['id']: image['name'] for image in images}
        numbers = [number for number in self._used if isinstance(number, int)]
        self._free = max([ids.first_free_image, *(number + 1 for number in numbers)])

    def announce(self, sources: Iterable[str]) -> None:
        """Give names to the images of a call, which depend on all of them."""
        self._names.add(sources)

    def write(self, source: str | None, size: tuple[int, int],
              prediction: dict) -> SavedPrediction:
        """Write one prediction.

        Args:
            source: path of the image; None for an array.
            size: (H, W) of the image.
            prediction: dict as the inferencer gives it.

        Returns:
            the prediction, its arrays replaced by their files.

        Raises:
            ValueError: a score is not finite; the text names the image.
        """
        name = self._names.unnamed() if source is None else self._names.of(source)
        saved = SavedPrediction(prediction)
        image = self._image(name, source, size)
        entry = dict(image=image)
        if 'instances' in prediction:
            entry['instances'] = [self._coco_result(image, found)
                                  for found in prediction['instances']]
        if 'panoptic_seg' in prediction:
            ids = saved.pop('panoptic_seg')
            entry['annotation'] = self._annotation(image, prediction['segments_info'], ids)
            saved['panoptic_seg_path'] = str(self.folder / f'{name}.png')
            write_panoptic_png(saved['panoptic_seg_path'], ids)
        if 'sem_seg' in prediction:
            path = self.folder / f'{name}{SEMANTIC}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            kind = np.uint8 if len(self.categories) <= 256 else np.uint16
            Image.fromarray(saved.pop('sem_seg').astype(kind)).save(path)
            saved['sem_seg_path'] = str(path)
        try:
            line = json.dumps(entry, allow_nan=False)
        except ValueError as error:
            raise ValueError(f'{source or name}: a predicted score or box is not finite, and no '
                             'JSON can hold it; check the weights and the image') from error
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / JOURNAL, 'a', encoding='utf-8') as file:
            # behind what another process may have been cut off in
            file.write(f'\n{line}\n')
        return saved

    def finish(self) -> None:
        """Put the entries of the journal into the JSON files, and remove it."""
        journal = self.folder / JOURNAL
        if not journal.is_file():
            return
        last = {entry['image']['id']: number for number, entry in enumerate(_entries(journal))}

        def new(key: str) -> Iterator:
            for number, entry in enumerate(_entries(journal)):
                if key in entry and last[entry['image']['id']] == number:
                    yield entry[key]

        images = {image['id']: image for image in (
            *self._load(IMAGES).get('images', []), *new('image'))}
        head = dict(images=list(images.values()), categories=self.categories)
        _write(self.folder / IMAGES, head)
        replaced = {annotation['image_id'] for annotation in new('annotation')}
        kept = [annotation for annotation in self._load(PANOPTIC).get('annotations', [])
                if annotation['image_id'] not in replaced]
        if kept or replaced:
            _write(self.folder / PANOPTIC, head, 'annotations',
                   itertools.chain(kept, new('annotation')))
        replaced = {entry['image']['id'] for entry in _entries(journal) if 'instances' in entry}
        kept = [result for result in self._load(INSTANCES)
                if result['image_id'] not in replaced]
        if kept or replaced:
            _write(self.folder / INSTANCES, None, '', itertools.chain(
                kept, itertools.chain.from_iterable(new('instances'))))
        journal.unlink()

    def _load(self, name: str) -> dict | list:
        """Content of a JSON file, empty where there is none."""
        path = self.folder / name
        if not path.is_file():
            return {}
        try:
            return json.loads(path.read_text(encoding='utf-8'))
        except ValueError as error:
            raise ValueError(f'{path} is not valid JSON ({error}), so no results can be added to '
                             'it; write to another folder, or remove it') from error

    def _image(self, name: str, source: str | None, size: tuple[int, int]) -> dict:
        """What the JSON files say of an image; ids are the data set's where it has the image."""
        known = None if source is None else self.ids.image(source, size)
        if known is not None and self._used.get(known.id, name) == name:
            number, file_name = known
        else:
            number = next((used for used, of in self._used.items() if of == name), None)
            file_name = source or f'{name}.png'
            if number is None:
                number, self._free = self._free, self._free + 1
        self._used[number] = name
        origin = f'{name}.png' if source is None else source
        return dict(id=number, file_name=file_name, height=size[0], width=size[1], name=name,
                    source=origin if '://' in origin else os.path.abspath(origin))

    def _annotation(self, image: dict, segments: list[dict], ids: np.ndarray) -> dict:
        areas = np.bincount(ids.ravel(), minlength=len(segments) + 1)
        return dict(image_id=image['id'], file_name=f'{image["name"]}.png', segments_info=[
            dict(id=segment['id'], category_id=self.category_ids[segment['label']], iscrowd=0,
                 area=int(areas[segment['id']]), score=segment['score'])
            for segment in segments])

    def _coco_result(self, image: dict, found: dict) -> dict:
        x1, y1, x2, y2 = found['bbox']
        return dict(image_id=image['id'], category_id=self.category_ids[found['label']],
                    score=found['score'], bbox=[x1, y1, x2 - x1, y2 - y1],
                    segmentation=found['mask'])


def _entries(journal: Path) -> Iterator[dict]:
    """Entries of a journal, one for each image written; one that was cut off is left out."""
    with open(journal, encoding='utf-8') as file:
        for line in file:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            yield entry


def _write(path: Path, head: dict | None, key: str = '', items: Iterable[dict] = ()) -> None:
    """Write a JSON file in one go, its many items a line each: a dict of ``head`` and, under
    ``key``, the items; or, without head, the list of items.
    """
    unfinished = path.with_name(f'{path.name}.unfinished')
    with open(unfinished, 'w', encoding='utf-8') as file:
        if head is not None:
            file.write(json.dumps(head)[:-1])
        if head is None or key:
            file.write('[' if head is None else f', {json.dumps(key)}: [')
            for number, item in enumerate(items):
                file.write((',\n' if number else '\n') + json.dumps(item))
            file.write('\n]')
        file.write('}' if head is not None else '')
    unfinished.replace(path)

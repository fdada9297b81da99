"""Checks of "annotations" of panoptic and instance JSONs."""
import os.path as osp
from collections import Counter, defaultdict
from typing import Any

from mmpanseg.datasets.annotation_file import FLAG, IMAGE_ID, INTEGER, LIST, TEXT, name_of
from mmpanseg.datasets.base import with_slashes
from mmpanseg.doctor.lists.categories import Categories, near_names
from mmpanseg.doctor.lists.findings import Findings
from mmpanseg.doctor.lists.images import ListedImage, check_file_name
from mmpanseg.doctor.lists.json_file import plain_id, short
from mmpanseg.doctor.problem import Severity
from mmpanseg.doctor.source import ImageRecord
from mmpanseg.structures.panoptic_png import MAX_SEGMENT_ID


class AnnotationReader:
    """Joins images and annotations of one JSON.

    Args:
        images: its images.
        ids: ids of all images, also of those that are not usable.
        categories: its categories.
        found: receives the problems.

    Attributes:
        segments: name of a class -> number of segments that are no crowds.
        images_with: name of a class -> number of images with such a segment.
    """

    def __init__(self, images: list[ListedImage], ids: frozenset[int | str],
                 categories: Categories, found: Findings) -> None:
        self.images, self.categories, self.found = images, categories, found
        self._ids = ids
        self.source = found.source
        self.segments: Counter[str] = Counter()
        self.images_with: Counter[str] = Counter()
        self._by_id = {image.image_id: image for image in images if image.joined}
        self._dropped: Counter[str] = Counter()

    def panoptic(self, annotations: list[dict]) -> list[ImageRecord]:
        """Check a panoptic JSON.

        Args:
            annotations: its annotations.

        Returns:
            All images, each with its PNG and the segments that have an id of their own.
        """
        found = self.found
        joined: dict[int | str, tuple[str | None, list[dict]]] = {}
        by_png: dict[str, str] = {}
        every: list[dict] = []
        for entry in annotations:
            image = self._image_of(entry)
            place = self._place(entry, image)
            name = found.value('annotation', entry, 'file_name', TEXT, **place)
            if name is not None and not check_file_name('annotation', name, found, place):
                name = None
            infos = found.value('annotation', entry, 'segments_info', LIST, **place)
            segments = self._segments(infos or [], place)
            every += [info for info in infos or () if isinstance(info, dict)]
            if infos is not None and not infos:
                found.add('PAN048', 'the image has no segment', **place)
            if name is not None:
                other = by_png.setdefault(osp.normpath(with_slashes(name)), str(place['image_id']))
                if other != str(place['image_id']):
                    found.add('PAN049', f'the annotations of images {other} and '
                              f'{place["image_id"]} list the same PNG {name!r}', **place)
            if image is None:
                continue
            if image.image_id in joined:
                found.add('PAN010', f'image {image.image_id!r} has two annotations, '
                          f'{joined[image.image_id][0]!r} and {name!r}', **place)
                continue
            joined[image.image_id] = name, segments
        found.close_list('annotation', len(annotations))
        found.close_list('segment', len(every))
        found.optional_keys('segment', every, ('area', 'bbox', 'iscrowd'))
        self._close(joined)
        return [self._panoptic_record(image, joined.get(image.image_id) if image.joined else None)
                for image in self.images]

    def instance(self, annotations: list[dict]) -> list[ImageRecord]:
        """Check an instance JSON.

        Args:
            annotations: its annotations.

        Returns:
            All images, each with its annotations.
        """
        found = self.found
        joined: dict[int | str, list[dict]] = defaultdict(list)
        seen: dict[int, dict] = {}
        for entry in annotations:
            image = self._image_of(entry)
            place = dict(self._place(entry, image), segment_id=(
                entry['id'] if type(entry.get('id')) is int else None))
            number = found.checked('annotation', entry, 'id', IMAGE_ID, **place) if (
                'id' in entry) else None
            if number is not None and number in seen:
                found.add('PAN036', f'two annotations have the id {number}, of images '
                          f'{seen[number].get("image_id")!r} and {entry.get("image_id")!r}',
                          **place)
            elif number == 0:
                found.add('PAN023', 'the id of an annotation is 0, which pycocotools takes for '
                          '"no match" in scores', mend='number annotations from 1',
                          severity=Severity.WARNING, **place)
            if number is not None:
                seen.setdefault(number, entry)
            self._category_of('annotation', entry, place)
            self._crowd_of('annotation', entry, place)
            found.boxes_and_areas('annotation', entry, **place)
            if image is not None:
                joined[image.image_id].append(entry)
        found.close_list('annotation', len(annotations))
        found.optional_keys('annotation', annotations, ('id', 'area', 'bbox', 'iscrowd'))
        self._close({key: (None, entries) for key, entries in joined.items()})
        return [self._record(
            image, annotations=tuple(joined.get(image.image_id, ())) if image.joined else ())
            for image in self.images]

    def images_alone(self) -> list[ImageRecord]:
        """Return all images, without annotations."""
        return [self._record(image) for image in self.images]

    def _image_of(self, entry: dict) -> ListedImage | None:
        name = entry.get('file_name')
        place = dict(file=name if isinstance(name, str) else self.source.ann_file,
                     image_id=plain_id(entry.get('image_id')),
                     segment_id=entry['id'] if type(entry.get('id')) is int else None)
        image_id = self.found.value('annotation', entry, 'image_id', IMAGE_ID, **place)
        if image_id is None:
            return None
        image = self._by_id.get(image_id)
        if image_id not in self._ids:
            other: int | str | None = (
                str(image_id) if isinstance(image_id, int)
                else int(image_id) if image_id.isdecimal() and len(image_id) < 20 else None)
            hint = f'; "images" has {other!r}, of another type' if other in self._ids else ''
            self.found.add('PAN020', f'{name_of("annotation", entry)} has image_id {image_id!r}, '
                           f'which "images" does not list{hint}', **place)
        return image

    def _place(self, entry: dict, image: ListedImage | None) -> dict[str, Any]:
        name = entry.get('file_name') if image is None else image.file_name
        return dict(file=name if isinstance(name, str) else None,
                    image_id=plain_id(entry.get('image_id')))

    def _segments(self, infos: list, place: dict[str, Any]) -> list[dict]:
        """Check the segments of an image; those with an id of their own."""
        found = self.found
        kept: dict[int, dict] = {}
        stuff: Counter[int] = Counter()
        for number, info in enumerate(infos):
            if not isinstance(info, dict):
                found.add('PAN007', f'segment number {number} is {short(info)}, not a dict with '
                          'id and category_id', **place)
                continue
            key = info.get('id')
            here = dict(place, segment_id=key if type(key) is int else None)
            key = found.value('segment', info, 'id', INTEGER, **here)
            category = self._category_of('segment', info, here)
            crowd = self._crowd_of('segment', info, here)
            found.boxes_and_areas('segment', info, **here)
            if category is not None and category not in self.categories.things:
                stuff[category] += not crowd
                if crowd:
                    found.add('PAN053', f'segment {key} of class {self._name(category)!r}, which '
                              'is stuff, is a crowd', **here)
            if key == 0:
                found.add('PAN023', 'a segment has the id 0, the value of void pixels', **here)
            elif key is not None and not 0 < key <= MAX_SEGMENT_ID:
                found.add('PAN024', f'a segment has the id {key}', **here)
            elif key in kept:
                found.add('PAN022', f'two segments have the id {key}', **here)
            elif key is not None:
                kept[key] = info
        for category, count in stuff.items():
            if count > 1:
                found.add('PAN025', f'class {self._name(category)!r}, which is stuff, has {count} '
                          'segments', **place)
        return list(kept.values())

    def _category_of(self, where: str, entry: dict, place: dict[str, Any]) -> int | None:
        category = self.found.value(where, entry, 'category_id', INTEGER, **place)
        if category is None:
            return None
        if category not in self.categories.names:
            self.found.add('PAN019', f'{where} {entry.get("id")!r} has category_id {category}, '
                           'which "categories" does not list', **place)
            return None
        if category not in self.categories.selected:
            name = self._name(category)
            self._dropped[name] += 1
            if self.source.kind == 'panoptic' and not self.source.void_unselected:
                near = near_names(name, self.source.classes)
                hint = f'; did you mean {near[0]!r}?' if near else ''
                self.found.add('PAN017', f'segment {entry.get("id")!r} has category {category} '
                               f'({name!r}), which the config does not select{hint}', **place)
        return category

    def _crowd_of(self, where: str, entry: dict, place: dict[str, Any]) -> bool:
        if 'iscrowd' not in entry:
            return False
        return bool(self.found.checked(where, entry, 'iscrowd', FLAG, **place))

    def _name(self, category: int) -> str:
        return self.categories.names[category]

    def _close(self, joined: dict[int | str, tuple[str | None, list[dict]]]) -> None:
        """Check what only all annotations of an image show, and count segments."""
        found = self.found
        for image in self.images:
            if not image.joined:
                continue
            place = dict(file=image.file_name, image_id=image.image_id)
            if image.image_id not in joined:
                if self.source.kind == 'panoptic':
                    found.add('PAN021', 'the image has no annotation', **place)
                else:
                    found.add('PAN048', 'the image has no object', severity=Severity.NOTE,
                              mend='none, if it shows no object', **place)
                continue
            crowds: Counter[str] = Counter()
            present: Counter[str] = Counter()
            queries = 0
            for info in joined[image.image_id][1]:
                category = info.get('category_id')
                if type(category) is not int or category not in self.categories.selected:
                    continue
                crowd = info.get('iscrowd') in (1, True)
                (crowds if crowd else present)[self._name(category)] += 1
                queries += not crowd and (category in self.categories.things
                                          or not self.source.queries_for_things)
            self.segments += present
            self.images_with.update(list(present))
            limit = self.source.num_queries
            if limit is not None and queries > limit and not self.source.test_mode:
                found.add('PAN409', f'{queries} segments, and the model has {limit} queries',
                          **place)
            if crowds and self.source.role == 'train':
                found.add('PAN026', ', '.join(f'{count} x {name!r}' for name, count in
                                              crowds.items()), **place)
        for name, count in self._dropped.items():
            if self.source.kind == 'instance' or self.source.void_unselected:
                found.add('PAN052', f'category {name!r}: {count} segments are left out',
                          file=self.source.ann_file)

    def _panoptic_record(self, image: ListedImage,
                         annotation: tuple[str | None, list[dict]] | None) -> ImageRecord:
        name, segments = annotation or (None, [])
        record = self._record(image, segments=tuple(segments))
        if name is None:
            return record
        path = osp.join(self.source.seg_prefix, with_slashes(name))
        if osp.normpath(path) == osp.normpath(record.path):
            self.found.add('PAN050', f'the annotation lists {name!r}, which is the image',
                           file=image.file_name, image_id=image.image_id)
            return record
        return record._replace(annotation_path=path, annotation_name=name)

    def _record(self, image: ListedImage, **rest: Any) -> ImageRecord:
        path = osp.join(self.source.img_prefix, with_slashes(image.file_name))
        return ImageRecord(image.image_id, image.file_name, path, image.height, image.width,
                           things=self.categories.things, **rest)

"""Datasets in COCO panoptic format: a JSON file, and one id-coded PNG per image."""
import os.path as osp
from collections import Counter
from typing import Optional

import mmengine.fileio as fileio

from mmpanseg.registry import DATASETS
from .base import SegmentationDataset, with_slashes


@DATASETS.register_module()
class PanopticDataset(SegmentationDataset):
    """Any dataset in COCO panoptic format.

    ``ann_file`` is the JSON, ``data_prefix=dict(img=..., seg=...)`` the folders of images and PNGs.
    Labels are contiguous, things first. Classes come from ``metainfo`` (``thing_classes`` and
    ``stuff_classes``, optionally ``palette``), which selects and orders the JSON's categories by
    name; without it from the JSON itself, in its order (then known only after ``full_init``).

    ``filter_cfg`` applies to training: ``filter_empty_gt`` drops images without any segment that
    counts (thing or stuff, not crowd), ``min_size`` drops images with a shorter side. ``test_mode``
    keeps everything. An image without annotation has no ground truth: void everywhere.

    ``metainfo['label2cat']`` maps labels to the JSON's category ids once the data are loaded.

    Each sample has img_path, img_id, height, width, seg_map_path and segments_info, a list of
    dict(id, category, is_thing, iscrowd, area) where ``category`` is the contiguous label. Where
    segments were made void, ``void_ids`` lists their ids.

    Args:
        void_unselected: segments of categories that the metainfo does not select are void, as for
            instance segmentation with a file that has stuff too; by default they are an error.

    Raises:
        ValueError: naming file and place, when the JSON is broken or incomplete, names an unknown
            image or category, or does not have a class of ``metainfo``; when nothing is left to
            train on.
    """

    METAINFO: dict = {}

    def __init__(self, *args, void_unselected: bool = False, **kwargs) -> None:
        self.void_unselected = void_unselected
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        content = self._read_annotation_file()
        self._set_classes(content['categories'])
        labels = self._labels_of_categories(content['categories'])
        num_things = len(self._metainfo['thing_classes'])

        annotations = {}
        image_ids = {image['id'] for image in content['images']}
        for annotation in content.get('annotations', []):
            image_id = annotation['image_id']
            if image_id not in image_ids:
                raise ValueError(f'{self.ann_file}: annotation {annotation.get("file_name")!r} is '
                                 f'for image {image_id}, which "images" does not list')
            if image_id in annotations:
                raise ValueError(f'{self.ann_file}: image {image_id} has two annotations')
            annotations[image_id] = annotation

        data_list = []
        for image in content['images']:
            annotation = annotations.get(image['id'])
            info = dict(
                img_path=osp.join(
                    self.data_prefix.get('img', ''), with_slashes(image['file_name'])),
                img_id=image['id'],
                height=image['height'],
                width=image['width'],
                seg_map_path=None,
                segments_info=[])
            if annotation is not None:
                info['seg_map_path'] = osp.join(
                    self.data_prefix.get('seg', ''), with_slashes(annotation['file_name']))
                segments = annotation['segments_info']
                if self.void_unselected:
                    info['void_ids'] = [s['id'] for s in segments
                                        if labels.get(s['category_id'], '') is None]
                    segments = [s for s in segments if labels.get(s['category_id'], '') is not None]
                info['segments_info'] = [
                    self._parse_segment(segment, labels, num_things, annotation['file_name'])
                    for segment in segments]
            data_list.append(info)
        return data_list

    def filter_data(self) -> list[dict]:
        if self.test_mode:
            return self.data_list
        config = self.filter_cfg or {}
        min_size = config.get('min_size', 0)
        kept = [info for info in self.data_list if min(info['width'], info['height']) >= min_size]
        if config.get('filter_empty_gt', False):
            kept = [info for info in kept
                    if any(not segment['iscrowd'] for segment in info['segments_info'])]
        if not kept:
            raise ValueError(
                f'{self.ann_file}: no image to train on, {len(self.data_list)} images listed and '
                f'none left with filter_cfg={self.filter_cfg}')
        return kept

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of all segments of a sample."""
        return [segment['category'] for segment in self.get_data_info(idx)['segments_info']]

    def _read_annotation_file(self) -> dict:
        try:
            content = fileio.load(self.ann_file, file_format='json',
                                  backend_args=self.backend_args)
        except ValueError as error:
            raise ValueError(f'{self.ann_file} is not valid JSON: {error}') from error
        # the image lists of COCO's test sets have no annotations
        needed = ['images', 'categories'] + ([] if self.test_mode else ['annotations'])
        for key in needed:
            if not isinstance(content, dict) or key not in content:
                raise ValueError(f'{self.ann_file} has no "{key}": not a COCO panoptic JSON')
        return content

    def _set_classes(self, categories: list[dict]) -> None:
        """Fill what the metainfo lacks: classes, thing_classes, stuff_classes, palette."""
        meta = self._metainfo
        if ('thing_classes' in meta) != ('stuff_classes' in meta):
            raise ValueError('metainfo needs both thing_classes and stuff_classes (one may be '
                             f'empty), got {sorted(meta)}')
        if 'thing_classes' not in meta:
            for key, isthing in (('thing_classes', True), ('stuff_classes', False)):
                meta[key] = tuple(c['name'] for c in categories if bool(c['isthing']) is isthing)
        names = (*meta['thing_classes'], *meta['stuff_classes'])
        if tuple(meta.get('classes', names)) != names:
            raise ValueError('metainfo.classes must be thing_classes followed by stuff_classes, '
                             f'got {meta["classes"]}')
        meta['classes'] = names
        colors = {c['name']: tuple(c['color']) for c in categories if 'color' in c}
        if 'palette' not in meta and all(name in colors for name in names):
            meta['palette'] = [colors[name] for name in names]
        if 'palette' in meta and len(meta['palette']) != len(names):
            raise ValueError(f'metainfo.palette has {len(meta["palette"])} colours for '
                             f'{len(names)} classes')

    def _labels_of_categories(self, categories: list[dict]) -> dict[int, Optional[int]]:
        """Category id -> label, None where the metainfo does not select the category."""
        names = self._metainfo['classes']
        for kind, counts in (('class of metainfo', Counter(names)),
                             ('category', Counter(c['name'] for c in categories))):
            twice = [name for name, count in counts.items() if count > 1]
            if twice:
                raise ValueError(f'{self.ann_file}: {kind} {twice[0]!r} appears twice')
        by_name = {c['name']: c for c in categories}
        for label, name in enumerate(names):
            if name not in by_name:
                raise ValueError(f'{self.ann_file} has no category {name!r}, which metainfo names; '
                                 f'it has {sorted(by_name)}')
            is_thing = label < len(self._metainfo['thing_classes'])
            if bool(by_name[name]['isthing']) != is_thing:
                raise ValueError(
                    f'{self.ann_file}: category {name!r} has isthing={by_name[name]["isthing"]}, '
                    f'metainfo has it among the {"thing" if is_thing else "stuff"}_classes')
        label_of = {name: label for label, name in enumerate(names)}
        self._category_names = {c['id']: c['name'] for c in categories}
        # results written in COCO's format carry the data set's own category ids
        self._metainfo['label2cat'] = {
            label: by_name[name]['id'] for label, name in enumerate(names)}
        return {c['id']: label_of.get(c['name']) for c in categories}

    def _parse_segment(self, segment: dict, labels: dict, num_things: int,
                       file_name: str) -> dict:
        category = segment['category_id']
        label = labels.get(category)
        if label is None:
            name = self._category_names.get(category)
            why = (f'category {category} ({name!r}), which metainfo does not select' if name
                   else f'category id {category}, which "categories" does not list')
            raise ValueError(
                f'{self.ann_file}: segment {segment["id"]} of {file_name} has {why}')
        return dict(
            id=segment['id'],
            category=label,
            is_thing=label < num_things,
            iscrowd=int(segment.get('iscrowd', 0)),
            area=segment.get('area'))

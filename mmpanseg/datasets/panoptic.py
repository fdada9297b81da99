"""Datasets in COCO panoptic format: a JSON file, and one id-coded PNG per image."""
import os.path as osp

from mmdet.datasets.transforms import LoadPanopticAnnotations

from mmpanseg.datasets.annotation_file import (
    FLAG,
    check_classes,
    check_kind,
    check_listed,
    column,
    read_annotation_file,
    read_categories,
    read_images,
    read_panoptic_annotations,
)
from mmpanseg.datasets.base import SegmentationDataset, with_slashes
from mmpanseg.registry import DATASETS


@DATASETS.register_module()
class PanopticDataset(SegmentationDataset):
    """Any dataset in COCO panoptic format.

    ``ann_file`` is the JSON, ``data_prefix=dict(img=..., seg=...)`` the folders of images and PNGs.
    Labels are contiguous, things first. Classes come from ``metainfo`` (``thing_classes`` and
    ``stuff_classes``, optionally ``palette``), which selects and orders the JSON's categories by
    name; ``classes`` alone does too, and ``isthing`` of the JSON says which are things. Without
    it they come from the JSON itself, in its order (then known only after ``full_init``). The
    lists of COCO's test images, whose categories are things without ``isthing`` and stuff is
    absent, take all from the metainfo.

    ``filter_cfg`` applies to training: ``filter_empty_gt`` drops images without any segment that
    counts (thing or stuff, not crowd), ``min_size`` drops images with a shorter side. ``test_mode``
    keeps everything. An image without annotation has no ground truth: void everywhere.

    ``metainfo['label2cat']`` maps labels to the JSON's category ids once the data are loaded; every
    sample has the same ``label2cat``, for concatenated sources with other ids.

    Each sample has img_path, img_id, height, width, seg_map_path and segments_info, a list of
    dict(id, category, is_thing, iscrowd, area) where ``category`` is the contiguous label. Where
    segments were made void, ``void_ids`` lists their ids.

    Args:
        void_unselected: segments of categories that the metainfo does not select are void, as for
            instance segmentation with a file that has stuff too; by default they are an error.

    Raises:
        ValueError: naming file and place, when the JSON is broken or incomplete, names an unknown
            image or category, has an id or name twice, or does not have a class of ``metainfo``;
            when nothing is left to train on; when the pipeline loads what mmdet's data sets give.
    """

    METAINFO: dict = {}

    def __init__(self, *args, void_unselected: bool = False, **kwargs) -> None:
        self.void_unselected = void_unselected
        super().__init__(*args, **kwargs)
        if any(isinstance(step, LoadPanopticAnnotations) for step in self.pipeline.transforms):
            # mmdet's lists things a second time, with their boxes, which this data set does not
            raise ValueError(
                f"{type(self).__name__} does not give what mmdet's LoadPanopticAnnotations reads: "
                'use mmpanseg.LoadPanopticMap and mmpanseg.PackPanopticInputs in its pipeline, or '
                "mmdet's CocoPanopticDataset with that pipeline")

    def load_data_list(self) -> list[dict]:
        content = read_annotation_file(
            # the image lists of COCO's test sets have no annotations
            self.ann_file, ['images', 'categories'] + ['annotations'] * (not self.test_mode),
            'panoptic', self.backend_args)
        images = read_images(self.ann_file, content['images'])
        annotations = content.get('annotations', [])
        check_listed(self.ann_file, annotations, 'image_id', images, 'images')
        annotations = read_panoptic_annotations(self.ann_file, annotations)
        self._set_classes(content)
        labels = self._labels_of_categories(content)
        num_things = len(self._metainfo['thing_classes'])
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

    def has_ground_truth(self, info: dict) -> bool:
        return any(not segment['iscrowd'] for segment in info['segments_info'])

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of all segments of a sample."""
        return [segment['category'] for segment in self.get_data_info(idx)['segments_info']]

    def _set_classes(self, content: dict) -> None:
        """Fill what the metainfo lacks: classes, thing_classes, stuff_classes, palette."""
        meta, categories = self._metainfo, content['categories']
        read_categories(self.ann_file, categories)
        if ('thing_classes' in meta) != ('stuff_classes' in meta):
            raise ValueError('metainfo needs both thing_classes and stuff_classes (one may be '
                             f'empty), got {sorted(meta)}')
        if 'thing_classes' not in meta:
            kinds = dict(zip((c['name'] for c in categories),
                             column(self.ann_file, 'category', categories, 'isthing', FLAG)))
            selected = meta.get('classes', kinds)
            check_classes(self.ann_file, selected, kinds)
            for key, isthing in (('thing_classes', True), ('stuff_classes', False)):
                meta[key] = tuple(name for name in selected if bool(kinds[name]) is isthing)
        names = (*meta['thing_classes'], *meta['stuff_classes'])
        if tuple(meta.get('classes', names)) != names:
            raise ValueError('metainfo.classes must be thing_classes followed by stuff_classes, '
                             f'got {meta["classes"]}')
        meta['classes'] = names
        colors = {c['name']: tuple(c['color']) for c in categories
                  if isinstance(c.get('color'), list)}
        if 'palette' not in meta and all(name in colors for name in names):
            meta['palette'] = [colors[name] for name in names]
        self._check_palette()

    def _labels_of_categories(self, content: dict) -> dict[int, int | None]:
        """Category id -> label, None where the metainfo does not select the category."""
        names, categories = self._metainfo['classes'], content['categories']
        by_name = {c['name']: c for c in categories}
        listed = by_name
        if 'annotations' not in content:
            # COCO's lists of test images know its things only
            listed = {**by_name, **dict.fromkeys(names)}
        check_classes(self.ann_file, names, listed)
        for label, name in enumerate(names):
            is_thing = label < len(self._metainfo['thing_classes'])
            isthing = by_name.get(name, {}).get('isthing', is_thing)
            check_kind(self.ann_file, 'category', [by_name.get(name, {})], 'isthing', FLAG,
                       [isthing])
            if bool(isthing) != is_thing:
                raise ValueError(
                    f'{self.ann_file}: category {name!r} has isthing={isthing}, '
                    f'metainfo has it among the {"thing" if is_thing else "stuff"}_classes')
        label_of = {name: label for label, name in enumerate(names)}
        self._category_names = {c['id']: c['name'] for c in categories}
        # results written in COCO's format carry the data set's own category ids
        self._metainfo['label2cat'] = self.shared['label2cat'] = {
            **self._metainfo.get('label2cat', {}),
            **{label_of[c['name']]: c['id'] for c in categories if c['name'] in label_of}}
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

"""Data sets in COCO panoptic format: a JSON file, and a PNG of segment ids per image."""
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
    """Data set in COCO panoptic format.

    Labels are contiguous, things first. ``metainfo`` selects and orders the categories of the JSON
    by name: ``thing_classes`` and ``stuff_classes``, or ``classes`` alone, of which the ``isthing``
    of the JSON separates things and stuff. Without metainfo the classes are the categories of the
    JSON in its order, known only after ``full_init``. For the lists of COCO's test images, which
    contain things only and no ``isthing``, all classes come from the metainfo.

    An image without annotation has no ground truth: all of its pixels are void. Once the data are
    loaded, ``metainfo['label2cat']`` maps labels to category ids of the JSON. Each sample contains
    it too, because concatenated data sets may have different ids.

    Each sample contains img_path, img_id, height, width, seg_map_path and segments_info, a list of
    dict(id, category, is_thing, iscrowd, area), where ``category`` is the contiguous label; and
    ``void_ids``, the ids of segments that ``void_unselected`` makes void.

    Args:
        ann_file: path of the JSON.
        data_prefix: dict of the folders of images, ``img``, and of PNGs, ``seg``.
        metainfo: names of classes, see above, and optionally ``palette``, a color per class.
        filter_cfg: filters in training: ``filter_empty_gt=True`` removes images without a segment
            that is no crowd, ``min_size`` removes images with a shorter side in pixels.
        test_mode: no filters.
        void_unselected: segments of categories that the metainfo does not select become void, as
            for instance segmentation with annotations that include stuff. False: they are an error.

    Raises:
        ValueError: the JSON is broken or incomplete, refers to an unknown image or category,
            repeats an id or name, or lacks a class of ``metainfo`` (the text names file and entry);
            no image is left for training; the pipeline contains mmdet's loader of annotations.
    """

    METAINFO: dict = {}

    def __init__(self, *args, void_unselected: bool = False, **kwargs) -> None:
        self.void_unselected = void_unselected
        super().__init__(*args, **kwargs)
        if any(isinstance(step, LoadPanopticAnnotations) for step in self.pipeline.transforms):
            # mmdet's loader reads boxes, which the samples here do not contain
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
        self.shared['ann_file'] = self.ann_file  # the loader of images compares the sizes
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
        """Return the labels of all segments of a sample."""
        return [segment['category'] for segment in self.get_data_info(idx)['segments_info']]

    def _set_classes(self, content: dict) -> None:
        """Complete the metainfo: classes, thing_classes, stuff_classes, palette."""
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
        """Map category ids to labels, None for categories that the metainfo does not select."""
        names, categories = self._metainfo['classes'], content['categories']
        by_name = {c['name']: c for c in categories}
        listed = by_name
        if 'annotations' not in content:
            # COCO's lists of test images contain things only
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
        # results in COCO's format contain the category ids of the data set
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


class PanopticInstanceDataset(PanopticDataset):
    """The things of a panoptic annotation, for instance segmentation; all other segments are void.

    Suits data sets whose instances do not overlap, so that one map contains them. Arguments are
    those of :class:`PanopticDataset`; ``void_unselected`` is True by default.
    """

    def __init__(self, *args, void_unselected: bool = True, **kwargs) -> None:
        super().__init__(*args, void_unselected=void_unselected, **kwargs)

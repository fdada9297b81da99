"""The images and the ground truth that a report is about."""
import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmpanseg.browse.display import choose_tones, to_rgb
from mmpanseg.browse.sources import Place, build_dataset, locate
from mmpanseg.browse.views import read_image, shown_channels
from mmpanseg.datasets.metainfo import common_metainfo
from mmpanseg.datasets.panoptic import PanopticDataset
from mmpanseg.engine.command_line import UsageError, user_mistakes
from mmpanseg.evaluation.ground_truth import read_ground_truth
from mmpanseg.evaluation.metric_base import sample_name
from mmpanseg.evaluation.panoptic_files import load_panoptic_json, png_folder
from mmpanseg.evaluation.panoptic_quality import PanopticDataError, PanopticMap
from mmpanseg.structures.image_file import file_orientation
from mmpanseg.structures.result_file_names import result_names
from mmpanseg.visualization.color import generate_palette

# what the loader of images adds to a sample, and ground truth is aligned by
_LOADED = ('ori_shape', 'img_orientation', 'ann_orientation')


@dataclass(frozen=True)
class ReportClasses:
    """Classes of a report.

    Attributes:
        names: by label.
        is_thing: bool [C].
        palette: RGB color of each.
        category_ids: id of each label in annotation files; empty if unknown.
    """

    names: tuple[str, ...]
    is_thing: tuple[bool, ...]
    palette: list[tuple[int, int, int]]
    category_ids: dict[int, int]

    def __len__(self) -> int:
        return len(self.names)


class Truth:
    """Images of a data set with panoptic ground truth; numbers are indices in the data set.

    Args:
        dataset: data set of a loader, complete.
        name: where it is from, for texts.
        without_images: whether there are no image files.

    Raises:
        UsageError: no image has panoptic ground truth, or it has no names of classes.
    """

    def __init__(self, dataset: Any, name: str, without_images: bool = False) -> None:
        self.dataset, self.name, self.without_images = dataset, name, without_images
        with user_mistakes():
            meta = common_metainfo(dataset.metainfo) or {}
        self.meta = dict(meta)
        self.classes = _classes(self.meta, dataset, name)
        self.annotated = [number for number in range(len(dataset))
                          if self.info(number).get('seg_map_path') is not None]
        if not self.annotated:
            raise UsageError(f'{name}: no image has ground truth, so there is nothing to report; '
                             'use a split with annotations, such as that for validation')
        first = self.info(self.annotated[0])
        if 'segments_info' not in first:
            raise UsageError(
                f'{name}: the ground truth is {_kind(first)}; a report needs panoptic ground truth '
                '(a data set such as mmpanseg.PanopticDataset)')
        paths = [str(self.info(number).get('img_path') or number) for number in self.annotated]
        names = result_names(paths)
        self._names = {number: names[path] for number, path in zip(self.annotated, paths)}

    def __len__(self) -> int:
        return len(self.dataset)

    def place(self, number: int) -> Place:
        """Find an image inside wrappers."""
        return locate(self.dataset, number)

    def info(self, number: int) -> dict:
        """Return the entry of an image in its list."""
        place = self.place(number)
        return place.dataset.get_data_info(place.inner)

    def short_name(self, number: int) -> str:
        """Return the name of an image: its file without the folder, longer where two are equal."""
        return self._names[number]

    def sample(self, number: int) -> dict:
        """Return what the ground truth and metrics need: the entry of the image, its orientation.

        Raises:
            Exception: the image is rotated and cannot be read.
        """
        info = copy.deepcopy(self.info(number))
        if 'height' in info:
            info.setdefault('ori_shape', (info['height'], info['width']))
        if file_orientation(info.get('img_path')) != 1:
            loaded = read_image(*self.place(number)[1:])
            info.update({key: loaded[key] for key in _LOADED if key in loaded})
        return info

    def segments(self, sample: dict) -> PanopticMap:
        """Read the ground truth of a sample.

        Raises:
            Exception: it is missing or damaged.
        """
        gt = read_ground_truth(sample, self.meta)
        if gt is None:
            raise PanopticDataError(f'{sample_name(sample)} has no panoptic annotation')
        return gt

    def picture(self, number: int) -> np.ndarray:
        """Read an image for display, uint8 RGB [H, W, 3].

        Raises:
            Exception: it cannot be read.
        """
        place = self.place(number)
        image = read_image(place.dataset, place.inner)['img']
        return to_rgb(image, choose_tones(image, shown_channels(place.dataset, image)))


def truth_of_config(cfg: Config, name: str, dataset: Any = None) -> Truth:
    """Return the test data of a config.

    Args:
        cfg: the config.
        name: of the config, for texts.
        dataset: the data set, if a loader has built it.

    Raises:
        UsageError: the config has no test data, they cannot be read or have no ground truth.
    """
    return Truth(build_dataset(cfg, 'test') if dataset is None else dataset,
                 f'test data of {name}')


def truth_of_json(path: str | Path, folder: str | Path | None = None,
                  images: str | Path | None = None) -> Truth:
    """Return the images of a COCO panoptic JSON.

    Args:
        path: of the JSON.
        folder: of its PNGs; by default beside the JSON, see
            :func:`mmpanseg.evaluation.panoptic_files.png_folder`.
        images: folder of the images; without, the report has no pictures of images.

    Raises:
        UsageError: a file or folder is missing, or the JSON is broken.
    """
    init_default_scope('mmdet')
    with user_mistakes():
        content = load_panoptic_json(path, ('images', 'categories', 'annotations'))
        pngs = png_folder(folder, path, content, 'ground truth', '--truth-folder')
        del content
        if images is not None and not os.path.isdir(images):
            raise UsageError(f'--images {images} is no folder')
        dataset = PanopticDataset(
            ann_file=str(path), data_prefix=dict(img=str(images or ''), seg=str(pngs)),
            pipeline=[dict(type='LoadImageFromFile')], test_mode=True)
    return Truth(dataset, str(path), without_images=images is None)


def _classes(meta: dict, dataset: Any, name: str) -> ReportClasses:
    names = tuple(meta.get('classes') or ())
    if not names or 'thing_classes' not in meta:
        raise UsageError(f'{name}: its metainfo has no {"thing_classes" if names else "classes"}; '
                         'a report needs panoptic data with things and stuff')
    things = set(meta['thing_classes'])
    palette = meta.get('palette')
    if not isinstance(palette, Sequence) or isinstance(palette, str) or len(palette) < len(names):
        palette = generate_palette(len(names))
    categories = meta.get('label2cat')
    if categories is None:
        # of mmdet's data sets
        known = getattr(locate(dataset, 0).dataset, 'cat2label', None) or {}
        categories = {label: category for category, label in known.items()}
    return ReportClasses(
        names, tuple(entry in things for entry in names),
        [(int(red), int(green), int(blue)) for red, green, blue in palette[:len(names)]],
        {int(label): category for label, category in categories.items()})


def _kind(info: dict) -> str:
    return 'a semantic map' if str(info['seg_map_path']).endswith('.png') else 'of another kind'

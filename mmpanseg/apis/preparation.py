"""From a source to the input of a network: loading, the test pipeline, padded sizes."""
import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

import cv2
import mmcv.transforms
import numpy as np
from mmdet.datasets.transforms import InferencerLoader, LoadPanopticAnnotations
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import Compose
from torch import Tensor

from mmpanseg.apis.config_edits import find_test_dataset
from mmpanseg.apis.image_inputs import to_array
from mmpanseg.apis.image_sources import SourceImage
from mmpanseg.apis.predictor_errors import PredictorError
from mmpanseg.datasets.transforms import (
    LoadChannels,
    LoadImageFromFile,
    LoadInstanceMasks,
    LoadPanopticMap,
    LoadSemanticMap,
)
from mmpanseg.datasets.transforms.channel_groups import adapt_to_channels
from mmpanseg.models.segmentors import MaskTransformer
from mmpanseg.registry import TRANSFORMS
from mmpanseg.structures.image_channels import channels_to_rgb
from mmpanseg.structures.image_file import ImageError, to_rgb_uint8

_ANNOTATION_LOADERS = (mmcv.transforms.LoadAnnotations, LoadPanopticAnnotations, LoadPanopticMap,
                       LoadSemanticMap, LoadInstanceMasks)

@dataclass
class PreparedImage:
    """An image as the test pipeline returns it.

    Attributes:
        source: where it comes from.
        views: images [C, h, w] without normalization and padding; one, or several of test-time
            augmentation.
        samples: a data sample for each view.
        image: uint8 RGB [H, W, 3] of an image in memory; None for a file, which can be read again.
        speed: ms by phase, 'load' and 'preprocess'.
    """
    source: SourceImage
    views: Sequence[Tensor]
    samples: Sequence[DetDataSample]
    image: np.ndarray | None
    speed: dict[str, float] = field(default_factory=dict)


class Preparation:
    """Applies the test pipeline of a config, without the loading of annotations.

    Args:
        cfg: config with ``test_dataloader``.
        keep_images: whether prepared images in memory have ``image``.

    Attributes:
        loader: the pipeline's loader of files.
        color_type: its color type, 'channels' of ``LoadChannels``.
        backend_args: arguments of its file backend.

    Raises:
        PredictorError: the pipeline does not load images.
    """

    def __init__(self, cfg: Config, keep_images: bool = True) -> None:
        steps = _without_annotations(copy.deepcopy(find_test_dataset(cfg).pipeline))
        names = [getattr(step['type'], '__name__', step['type']) for step in steps]
        at = next((k for k, name in enumerate(names)
                   if name.rpartition('.')[2] in ('LoadImageFromFile', 'LoadChannels')), None)
        if at is None:
            raise PredictorError('the test pipeline of the config has no LoadImageFromFile and no '
                                 'mmpanseg.LoadChannels, so it cannot load images')
        if names[at].rpartition('.')[2] == 'LoadImageFromFile':
            steps[at]['type'] = 'mmdet.InferencerLoader'
        transforms = adapt_to_channels(Compose(steps).transforms)
        self._load_steps, self._steps = transforms[:at + 1], transforms[at + 1:]
        loader: Any = transforms[at]
        self.loader: LoadImageFromFile = (
            loader.from_file if isinstance(loader, InferencerLoader) else loader)
        self._keep_images = keep_images
        self.color_type = self.loader.color_type
        self.backend_args = self.loader.backend_args

    def __call__(self, source: SourceImage) -> PreparedImage:
        """Load and transform an image.

        Raises:
            ImageError: the image cannot be read, or not be transformed; the text names it.
        """
        start = time.perf_counter()
        try:
            data = self._load(source)
            loaded = time.perf_counter()
            keep = self._keep_images and not _is_file(source)
            image = self.picture(data['img']) if keep else None
            for step in self._steps:
                data = step(data)
        except ImageError:
            raise
        except OSError as error:
            # not all storage backends name the file
            raise ImageError(f'{source.name} cannot be read: {_one_line(error)}') from error
        except (AssertionError, cv2.error) as error:
            raise ImageError(f'{source.name} cannot be prepared by the test pipeline: '
                             f'{_one_line(error)}') from error
        end = time.perf_counter()
        views, samples = data['inputs'], data['data_samples']
        if not isinstance(views, (list, tuple)):
            views, samples = [views], [samples]
        speed = dict(load=1000 * (loaded - start), preprocess=1000 * (end - loaded))
        return PreparedImage(source, views, samples, image, speed)

    def picture(self, pixels: np.ndarray) -> np.ndarray:
        """Draw an image in memory as the loader returns it, uint8 RGB [H, W, 3]."""
        if isinstance(self.loader, LoadChannels):
            return channels_to_rgb(pixels, self.loader.display)
        return to_rgb_uint8(pixels)

    def _load(self, source: SourceImage) -> dict:
        content = source.content
        if not isinstance(content, (str, np.ndarray)):
            content = to_array(content, self.color_type, self.loader.imdecode_backend)
        try:
            data: Any = dict(img_path=content) if isinstance(content, str) else dict(img=content)
            for step in self._load_steps:
                data = step(data)
            return data
        except (HTTPException, KeyError, ValueError) as error:
            if isinstance(error, ImageError) or '://' not in str(source.path):
                raise
            # of an answer that breaks off, an unknown scheme and an impossible address
            raise ImageError(f'{source.name} cannot be read: {type(error).__name__}: '
                             f'{_one_line(error)}') from error


class PaddedSizes:
    """Padded sizes of images, as the data preprocessor of a model pads each of them alone.

    Args:
        model: the segmentor; its ``pad`` is asked once for every size.
    """

    def __init__(self, model: MaskTransformer) -> None:
        self._model = model
        self._known: dict[tuple[int, ...], tuple[int, ...]] = {}

    def __call__(self, prepared: PreparedImage) -> tuple[tuple[int, ...], ...]:
        """Return the padded size (H, W) of each view."""
        return tuple(self._of(view) for view in prepared.views)

    def _of(self, view: Tensor) -> tuple[int, ...]:
        size = tuple(view.shape)
        if size not in self._known:
            empty = view.new_zeros(1, dtype=view.dtype).float().expand(1, *size)
            self._known[size] = tuple(self._model.pad(empty).shape[-2:])
        return self._known[size]


def _without_annotations(steps: Sequence[dict]) -> list[dict]:
    """The steps of a pipeline that do not load annotations, which images to predict do not have."""
    kept = []
    for step in steps:
        if _loads_annotations(step):
            continue
        if isinstance(step.get('transforms'), (list, tuple)):
            # TestTimeAug has lists of steps
            branches = [_without_annotations(branch) for branch in step['transforms']]
            step = dict(step, transforms=[branch for branch in branches if branch])
        kept.append(dict(step))
    return kept


def _loads_annotations(step: dict) -> bool:
    """Whether a step loads annotations."""
    kind = step['type']
    if isinstance(kind, str):
        with TRANSFORMS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    return isinstance(kind, type) and issubclass(kind, _ANNOTATION_LOADERS)


def _is_file(source: SourceImage) -> bool:
    """Whether an image can be read again at no cost of a network."""
    return source.path is not None and '://' not in source.path


def _one_line(error: BaseException) -> str:
    return ' '.join(str(error).split())

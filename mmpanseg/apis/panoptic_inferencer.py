"""Panoptic predictions for images, arrays and folders, from Python."""
import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import cv2
import mmcv
import numpy as np
from mmdet.apis import DetInferencer
from mmdet.datasets.transforms import InferencerLoader
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.dataset import BaseDataset, Compose
from mmengine.registry import FUNCTIONS
from mmengine.structures import InstanceData, PixelData
from mmengine.visualization import Visualizer
from torch import nn

from mmpanseg.apis.dataset_ids import DatasetIds
from mmpanseg.apis.image_inputs import ImageInput, list_images, to_array
from mmpanseg.apis.prediction_files import PredictionFiles
from mmpanseg.apis.test_options import use_tiles
from mmpanseg.datasets.metainfo import config_metainfo, first_dataset
from mmpanseg.models.fusion_heads.instances import encode_mask
from mmpanseg.structures.image_file import ImageError, read_sample_image, to_rgb_uint8
from mmpanseg.structures.result_file_names import ResultNames, picture_name
from mmpanseg.visualization.panoptic_visualizer import require_display


class PanopticInferencer(DetInferencer):
    """mmdet's DetInferencer, whose results are panoptic segments.

    Arguments are those of DetInferencer: `model` (config file or Config), `weights` (checkpoint),
    `device`. Class names come from the checkpoint, else from the config's test dataset. With `tile`
    (height, width) images keep the size of their files and are predicted in tiles of that size,
    which overlap by `overlap` pixels (default: an eighth).

    Calling it takes a file, folder, glob pattern or URL (str or Path), a uint8 array (BGR [H,W,3],
    [H,W,4] or [H,W]), a PIL image, bytes or an open file of an encoded image, or a list or
    generator of these, and the options of DetInferencer. Files are read upright (EXIF), and results
    lie as the upright picture does. Returned is a dict:

    - `predictions`: per image a dict of what the model's `test_cfg` switches on: `segments_info`,
      a list of dict(id, label, class_name, isthing, score), with `panoptic_seg`, int32 [H,W],
      pixel -> id (1, 2, ...), 0 = void; `instances`, a list of dict(label, class_name, score,
      bbox [x1, y1, x2, y2], mask as COCO run lengths); `sem_seg`, int32 [H,W], pixel -> label.
      With `return_datasamples=True` the model's DetDataSamples instead.
    - `visualization`: per image the drawn uint8 RGB picture, with `return_vis=True`.

    With `out_dir` the pictures go to vis/ and the results to preds/ in it, see
    :class:`PredictionFiles`. `no_save_vis=True` or `no_save_pred=True` leaves one of them out.
    Image and category ids are those of the config's test data set where its annotation file is
    there. Saved arrays are not kept in memory, but read when a prediction is asked for them;
    `return_predictions=False` keeps nothing at all. :meth:`stream` gives results one by one.

    Raises:
        FileNotFoundError: no image lies at a path or matches a pattern.
        ImageError: an image cannot be read (a ValueError).
        TypeError, ValueError: an input is of another type, or an array is no image; `tile` and
            `overlap` do not go together.
        NoDisplayError: `show=True` where no window can be opened.
    """

    postprocess_kwargs = DetInferencer.postprocess_kwargs | {'return_predictions'}

    def __init__(self, *args, tile: Sequence[int] | None = None, overlap: int | None = None,
                 **kwargs) -> None:
        self._tile, self._overlap = tile, overlap
        super().__init__(*args, **kwargs)
        self._files: PredictionFiles | None = None
        self._pictures: dict[str, ResultNames] = {}

    def __call__(self, inputs, *args, show: bool = False, no_save_pred: bool = False,
                 out_dir: str | Path = '', **kwargs) -> dict:
        """Predict; see the class."""
        if show:
            require_display()
        found = self.find_images(inputs)
        with self._saving(found, out_dir, no_save_pred):
            return super().__call__(found, *args, show=show, no_save_pred=no_save_pred,
                                    out_dir=str(out_dir), **kwargs)

    def stream(self, inputs, batch_size: int = 1, *, no_save_pred: bool = False,
               out_dir: str | Path = '', **kwargs) -> Iterator[dict]:
        """Predict image by image, for more of them than memory has room for.

        Args:
            inputs: as for a call.
            batch_size: images that go through the model at once.
            no_save_pred, out_dir, kwargs: as for a call; there is no progress bar.

        Yields:
            per image a dict of `prediction`, one of a call's `predictions`, and `visualization`,
            its picture or None.
        """
        found = self.find_images(inputs)
        with self._saving(found, out_dir, no_save_pred), self._silent():
            for start in range(0, len(found), batch_size):
                results = super().__call__(
                    found[start:start + batch_size], batch_size=batch_size,
                    no_save_pred=no_save_pred, out_dir=str(out_dir), **kwargs)
                pictures = results['visualization'] or [None] * len(results['predictions'])
                for prediction, picture in zip(results['predictions'], pictures):
                    yield dict(prediction=prediction, visualization=picture)

    def find_images(self, inputs: object) -> list[ImageInput]:
        """The files, URLs, arrays, PIL images and bytes behind `inputs`, in order."""
        return self._inputs_to_list(inputs)

    def visualize(self, inputs: Sequence, preds: Sequence[DetDataSample],
                  return_vis: bool = False, *args, no_save_vis: bool = False,
                  img_out_dir: str = '', **kwargs) -> list[np.ndarray] | None:
        """Pictures of the predictions, upright as the predictions are."""
        save = bool(img_out_dir) and not no_save_vis
        if not (save or return_vis or kwargs.get('show')):
            return None
        # mmdet reads files anew, with other orientations and depths than the model saw
        images = [self._picture(source, pred) for source, pred in zip(inputs, preds)]
        pictures = super().visualize(images, preds, return_vis or save, *args, **kwargs)
        if save:
            # mmdet's names are the same for images of two folders
            names, folder = self._picture_names(img_out_dir), Path(img_out_dir, 'vis')
            for source, picture in zip(inputs, pictures):
                name = (picture_name(names.of(source)) if isinstance(source, str)
                        else names.unnamed('.jpg', folder))
                mmcv.imwrite(picture[..., ::-1], str(folder / name))
        return pictures if return_vis else None

    def _picture(self, source: ImageInput, pred: DetDataSample) -> np.ndarray:
        """uint8 RGB [H,W,3] of an input."""
        if isinstance(source, str):
            return read_sample_image(dict(pred.metainfo, img_path=source), self._backend_args)
        if not isinstance(source, np.ndarray):
            source = to_array(source, self._color_type)
        return to_rgb_uint8(source)

    def postprocess(self, preds: Sequence[DetDataSample], visualization: list | None = None,
                    return_datasamples: bool = False, *args, no_save_pred: bool = False,
                    pred_out_dir: str = '', return_predictions: bool = True, **kwargs) -> dict:
        """Predictions as they are returned; written if there is a folder."""
        if return_datasamples and pred_out_dir and not no_save_pred:
            for sample in preds:
                self.pred2dict(sample, pred_out_dir)
            pred_out_dir = ''
        result = super().postprocess(
            preds, visualization, return_datasamples, *args, no_save_pred=no_save_pred,
            pred_out_dir=pred_out_dir, **kwargs)
        return result if return_predictions else dict(result, predictions=[])

    @contextmanager
    def _silent(self) -> Iterator[None]:
        shown, self.show_progress = self.show_progress, False
        try:
            yield
        finally:
            self.show_progress = shown

    @contextmanager
    def _saving(self, found: Sequence, out_dir: str | Path, no_save_pred: bool) -> Iterator[None]:
        """Names for what is written of a call's images; lists of it are complete at the end."""
        sources = [image for image in found if isinstance(image, str)]
        if out_dir:
            self._picture_names(str(out_dir)).add(sources)
        if not out_dir or no_save_pred:
            yield
            return
        files = self._files = PredictionFiles(
            Path(out_dir, 'preds'), self._ids, self.model.num_things_classes)
        files.announce(sources)
        try:
            yield
        finally:
            self._files = None
            files.finish()

    def _picture_names(self, out_dir: str) -> ResultNames:
        return self._pictures.setdefault(out_dir, ResultNames(keep_ending=True))

    @cached_property
    def _ids(self) -> DatasetIds:
        meta = self.model.dataset_meta
        return DatasetIds(meta['classes'], meta.get('label2cat'), self._test_dataset(self.cfg))

    def pred2dict(self, data_sample: DetDataSample, pred_out_dir: str = '') -> dict:
        """One prediction as described at the class; written too if there is a folder."""
        result = {}
        if 'pred_panoptic_seg' in data_sample:
            result.update(self._segments(data_sample.pred_panoptic_seg))
        if 'pred_instances' in data_sample:
            result['instances'] = self._instances(data_sample.pred_instances)
        if 'pred_sem_seg' in data_sample:
            result['sem_seg'] = data_sample.pred_sem_seg.sem_seg[0].cpu().numpy()
        if not pred_out_dir:
            return result
        path = data_sample.get('img_path')
        if self._files is None:
            with self._saving([path], pred_out_dir, no_save_pred=False):
                return self.pred2dict(data_sample, pred_out_dir)
        return self._files.write(path, tuple(data_sample.ori_shape[:2]), result)

    def _segments(self, coded: PixelData) -> dict:
        """`panoptic_seg` and `segments_info` of a map in mmdet's coding."""
        values = coded.sem_seg[0].cpu().numpy()
        panoptic_seg, segments = np.zeros(values.shape, dtype=np.int32), []
        for info in coded.metainfo['segments_info']:
            segment = dict(
                id=len(segments) + 1, label=int(info['label']),
                class_name=self._class_name(info['label']), isthing=bool(info['isthing']),
                score=float(info['score']))
            panoptic_seg[values == info['id']] = segment['id']
            segments.append(segment)
        return dict(segments_info=segments, panoptic_seg=panoptic_seg)

    def _instances(self, found: InstanceData) -> list[dict]:
        masks = (found.masks if isinstance(found.masks, list)
                 else [encode_mask(mask) for mask in found.masks])
        # text instead of bytes, as JSON wants it
        masks = [dict(size=list(mask['size']), counts=mask['counts'].decode()) for mask in masks]
        return [dict(label=label, class_name=self._class_name(label), score=score, bbox=bbox,
                     mask=mask)
                for label, score, bbox, mask in zip(
                    found.labels.tolist(), found.scores.tolist(), found.bboxes.tolist(), masks)]

    def _class_name(self, label: int) -> str:
        return self.model.dataset_meta['classes'][label]

    def _init_model(self, cfg: ConfigDict, *args, **kwargs) -> nn.Module:
        if self._tile is not None:
            use_tiles(cfg, self._tile, self._overlap)
        elif self._overlap is not None:
            raise ValueError('overlap without tile: give the size of the tiles too')
        return super()._init_model(cfg, *args, **kwargs)

    def _load_weights_to_model(self, model: nn.Module, checkpoint: dict | None,
                               cfg: ConfigDict) -> None:
        """Weights, and class names from the config's dataset where the checkpoint has none."""
        meta = (checkpoint or {}).get('meta') or {}
        configured = {} if 'dataset_meta' in meta or 'CLASSES' in meta else config_metainfo(cfg)
        if checkpoint is not None and configured:
            checkpoint = dict(state_dict=checkpoint.get('state_dict', checkpoint),
                              meta=dict(meta, dataset_meta=configured))
        super()._load_weights_to_model(model, checkpoint, cfg)

    def _test_dataset(self, cfg: ConfigDict) -> BaseDataset:
        """The config's test dataset, the first of several, not loaded."""
        options = copy.deepcopy(first_dataset(cfg.test_dataloader.dataset))
        return DATASETS.build(dict(options, lazy_init=True))

    def _init_collate(self, cfg: ConfigDict) -> Callable:
        # mmengine's method warns that mmdet has no registry of functions
        return FUNCTIONS.get(cfg.test_dataloader.get('collate_fn', 'pseudo_collate'))

    def _init_pipeline(self, cfg: ConfigDict) -> Callable:
        pipeline: Compose = super()._init_pipeline(cfg)
        reader = next(step.from_file for step in pipeline.transforms
                      if isinstance(step, InferencerLoader))
        self._color_type, self._backend_args = reader.color_type, reader.backend_args

        def load(image: ImageInput) -> dict:
            if not isinstance(image, (str, np.ndarray)):
                image = to_array(image, self._color_type, reader.imdecode_backend)
            try:
                return pipeline(image)
            except (AssertionError, OSError, cv2.error) as error:
                # Not all readers say which file they failed on.
                name = image if isinstance(image, str) else 'the given array'
                raise ImageError(f'{name} cannot be read as an image: the file is empty, damaged '
                                 f'or of another kind ({str(error).strip()})') from error

        return load

    def _init_visualizer(self, cfg: ConfigDict) -> Visualizer:
        """The config's visualizer without storage: pictures go to `out_dir` or the caller."""
        if 'visualizer' in cfg:
            cfg.visualizer.vis_backends = []
        return super()._init_visualizer(cfg)

    def _inputs_to_list(self, inputs: object) -> list[ImageInput]:
        return list_images(inputs, self._color_type)

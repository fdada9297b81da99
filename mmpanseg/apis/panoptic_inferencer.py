"""Panoptic predictions for images, arrays and folders, from Python."""
import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
from mmdet.apis import DetInferencer
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.dataset import BaseDataset
from mmengine.registry import FUNCTIONS
from mmengine.structures import InstanceData, PixelData
from mmengine.visualization import Visualizer
from torch import nn

from mmpanseg.apis.config_edits import use_tiles
from mmpanseg.apis.dataset_ids import DatasetIds
from mmpanseg.apis.image_inputs import ImageInput, list_images, to_array
from mmpanseg.apis.image_sources import SourceImage
from mmpanseg.apis.prediction_files import PredictionFiles
from mmpanseg.apis.preparation import Preparation
from mmpanseg.checkpoints.engine_loading import fill_config
from mmpanseg.checkpoints.meta_comparison import STRICT, report_differences, setting_differences
from mmpanseg.checkpoints.sources import CheckpointError, foreign_file
from mmpanseg.datasets.metainfo import config_metainfo, first_dataset
from mmpanseg.structures.encoded_masks import encode_mask
from mmpanseg.structures.image_file import ImageError
from mmpanseg.structures.result_file_names import ResultNames, picture_name
from mmpanseg.structures.sample_image import read_sample_image
from mmpanseg.utils.device import deliver
from mmpanseg.visualization.panoptic_visualizer import require_display
from mmpanseg.visualization.picture_files import write_picture


class PanopticInferencer(DetInferencer):
    """Inferencer for panoptic, instance and semantic segmentation, based on mmdet's DetInferencer.

    Class names are those of the checkpoint, else those of the config's test dataset. Call an
    inferencer with images: a file, folder, glob pattern or URL (str or Path), a uint8 array (BGR
    [H, W, 3], [H, W, 4] or [H, W]), a PIL image, bytes or an open file of an encoded image, or a
    list or generator of these. Files are rotated upright by their EXIF orientation, and results
    have the orientation of the upright picture. A call returns a dict of

    - `predictions`: per image a dict of the outputs that the model's `test_cfg` switches on:
      `segments_info`, a list of dict(id, label, class_name, isthing, score), and `panoptic_seg`,
      int32 [H, W], pixel -> id (1, 2, ...), 0 = void; `instances`, a list of dict(label,
      class_name, score, bbox [x1, y1, x2, y2], mask as COCO run lengths); `sem_seg`, int32 [H, W],
      pixel -> label. With `return_datasamples=True`, the model's DetDataSamples instead.
    - `visualization`: per image the drawn uint8 RGB picture, with `return_vis=True`.

    With `out_dir`, pictures are written to its folder vis and results to its folder preds, see
    :class:`PredictionFiles`; `no_save_vis=True` or `no_save_pred=True` switches one of them off.
    Image and category ids are those of the config's test dataset if its annotation file exists.
    Saved arrays are not kept in memory: each access to one in a prediction reads its file. With
    `return_predictions=False` no predictions are returned. :meth:`stream` yields results one by
    one.

    Args:
        *args: arguments of DetInferencer: `model` (config file or Config), `weights` (checkpoint),
            `device`, ...
        tile: (height, width) in pixels of tiles to predict images in, at the size of their files
            (default: images are predicted as the config defines).
        overlap: least number of pixels that neighboring tiles share (default: an eighth of the
            tile's smaller side).
        strict_meta: raise an error if the checkpoint was trained with other classes, normalization,
            channels, padding or test size than the config has (default: warn).
        **kwargs: further arguments of DetInferencer.

    Raises:
        CheckpointError: the weights do not fit the config, or differ with `strict_meta` (a
            ValueError).
        FileNotFoundError: no image exists at a path or matches a pattern.
        ImageError: an image cannot be read (a ValueError).
        TypeError: an input has another type.
        ValueError: an array is no image, or `overlap` is given without `tile`.
        NoDisplayError: `show=True` where no window can be opened.
    """

    show_progress: bool
    postprocess_kwargs = DetInferencer.postprocess_kwargs | {'return_predictions'}

    def __init__(self, *args, tile: Sequence[int] | None = None, overlap: int | None = None,
                 strict_meta: bool = False, **kwargs) -> None:
        self._tile, self._overlap, self._strict_meta = tile, overlap, strict_meta
        super().__init__(*args, **kwargs)
        self._files: PredictionFiles | None = None
        self._pictures: dict[str, ResultNames] = {}

    def __call__(self, inputs, *args, show: bool = False, no_save_pred: bool = False,
                 out_dir: str | Path = '', skip_unreadable: bool = False, **kwargs) -> dict:
        """Predict images, see the class.

        Args:
            inputs: images.
            *args: further arguments of DetInferencer's call.
            show: show the pictures in a window.
            no_save_pred: do not write results.
            out_dir: folder for pictures and results (default: nothing is written).
            skip_unreadable: predict the other images where one cannot be read (default: an error).
                The result then has `errors`, a dict of index -> ImageError; prediction and picture
                of such an image are None.
            **kwargs: further arguments of DetInferencer's call.

        Returns:
            dict of `predictions` and `visualization`.
        """
        if show:
            require_display()
        found = self.find_images(inputs)
        if skip_unreadable:
            if args:
                kwargs['batch_size'] = args[0]
            results = list(self.stream(found, show=show, no_save_pred=no_save_pred, out_dir=out_dir,
                                       skip_unreadable=True, **kwargs))
            return dict(predictions=[result['prediction'] for result in results],
                        visualization=[result['visualization'] for result in results],
                        errors={number: result['error'] for number, result in enumerate(results)
                                if 'error' in result})
        with self._saving(found, out_dir, no_save_pred):
            return super().__call__(found, *args, show=show, no_save_pred=no_save_pred,
                                    out_dir=str(out_dir), **kwargs)

    def stream(self, inputs, batch_size: int = 1, *, no_save_pred: bool = False,
               out_dir: str | Path = '', skip_unreadable: bool = False,
               **kwargs) -> Iterator[dict]:
        """Predict image by image, for more images than fit into memory.

        Args:
            inputs: as for a call.
            batch_size: number of images in a forward pass.
            no_save_pred: as for a call.
            out_dir: as for a call.
            skip_unreadable: continue after an image that cannot be read (default: an error).
            **kwargs: as for a call. There is no progress bar.

        Yields:
            per image a dict of `prediction`, one of a call's `predictions`, and `visualization`,
            its picture or None. With `skip_unreadable`, an image that cannot be read has `error`,
            an ImageError, and None for both.
        """
        found = self.find_images(inputs)
        with self._saving(found, out_dir, no_save_pred), self._silent():
            batches = [found[start:start + batch_size]
                       for start in range(0, len(found), batch_size)]
            while batches:
                batch = batches.pop(0)
                try:
                    results = super().__call__(
                        batch, batch_size=batch_size, no_save_pred=no_save_pred,
                        out_dir=str(out_dir), **kwargs)
                except ImageError as error:
                    if not skip_unreadable:
                        raise
                    if len(batch) > 1:
                        batches[:0] = [[image] for image in batch]
                    else:
                        yield dict(prediction=None, visualization=None, error=error)
                    continue
                pictures = results['visualization'] or [None] * len(results['predictions'])
                for prediction, picture in zip(results['predictions'], pictures):
                    yield dict(prediction=prediction, visualization=picture)

    def find_images(self, inputs: object) -> list[ImageInput]:
        """List the files, URLs, arrays, PIL images and bytes of `inputs`, in order."""
        return self._inputs_to_list(inputs)

    def visualize(self, inputs: Sequence, preds: Sequence[DetDataSample],
                  return_vis: bool = False, *args, no_save_vis: bool = False,
                  img_out_dir: str = '', **kwargs) -> list[np.ndarray] | None:
        """Draw the predictions, with the orientation of the predictions.

        Args:
            inputs: images.
            preds: a data sample for each.
            return_vis: return the pictures.
            *args: further arguments of DetInferencer's method.
            no_save_vis: do not write pictures.
            img_out_dir: folder for pictures (default: none are written).
            **kwargs: further arguments of DetInferencer's method.

        Returns:
            with ``return_vis`` a uint8 RGB picture per image, else None.
        """
        save = bool(img_out_dir) and not no_save_vis
        if not (save or return_vis or kwargs.get('show')):
            return None
        # mmdet would read files again, with another orientation and depth than the pipeline
        images = [self._picture(source, pred) for source, pred in zip(inputs, preds)]
        pictures = super().visualize(images, preds, return_vis or save, *args, **kwargs)
        if save:
            # mmdet uses the same name for images of two folders
            names, folder = self._picture_names(img_out_dir), Path(img_out_dir, 'vis')
            for source, picture in zip(inputs, pictures):
                name = (picture_name(names.of(source)) if isinstance(source, str)
                        else names.unnamed('.jpg', folder))
                write_picture(folder / name, picture)
        return pictures if return_vis else None

    def _picture(self, source: ImageInput, pred: DetDataSample) -> np.ndarray:
        """Picture of an input, uint8 RGB [H, W, 3]."""
        if isinstance(source, str):
            return read_sample_image(dict(pred.metainfo, img_path=source), self._backend_args)
        if not isinstance(source, np.ndarray):
            source = to_array(source, self._color_type)
        return self._prepare.picture(self._prepare.loader.check_array(source))

    def postprocess(self, preds: Sequence[DetDataSample], visualization: list | None = None,
                    return_datasamples: bool = False, *args, no_save_pred: bool = False,
                    pred_out_dir: str = '', return_predictions: bool = True, **kwargs) -> dict:
        """Convert the predictions to the result of a call, and write them.

        Args:
            preds: data samples of the images.
            visualization: pictures of :meth:`visualize`.
            return_datasamples: return data samples instead of dicts.
            *args: further arguments of DetInferencer's method.
            no_save_pred: do not write results.
            pred_out_dir: folder for results (default: nothing is written).
            return_predictions: whether predictions are part of the result.
            **kwargs: further arguments of DetInferencer's method.

        Returns:
            dict of `predictions` and `visualization`.
        """
        deliver()  # counts of queries that were left out
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
        """Switch the progress bar off."""
        shown, self.show_progress = self.show_progress, False
        try:
            yield
        finally:
            self.show_progress = shown

    @contextmanager
    def _saving(self, found: Sequence, out_dir: str | Path, no_save_pred: bool) -> Iterator[None]:
        """Choose file names for the images of a call, and complete the JSON files at its end.

        Args:
            found: images of the call.
            out_dir: folder for pictures and results; empty if nothing is written.
            no_save_pred: whether results are not written.
        """
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
        """File names of the pictures in a folder."""
        return self._pictures.setdefault(out_dir, ResultNames(keep_ending=True))

    @cached_property
    def _ids(self) -> DatasetIds:
        """Ids of the config's test dataset."""
        meta = self.model.dataset_meta
        return DatasetIds(meta['classes'], meta.get('label2cat'), self._test_dataset(self.cfg))

    def pred2dict(self, data_sample: DetDataSample, pred_out_dir: str = '') -> dict:
        """Convert a prediction to a dict as described at the class, and write it.

        Args:
            data_sample: with `pred_panoptic_seg`, `pred_instances` or `pred_sem_seg`.
            pred_out_dir: folder for results (default: nothing is written).
        """
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
        panoptic_seg = np.zeros(values.shape, dtype=np.int32)
        segments: list[dict] = []
        for info in coded.metainfo['segments_info']:
            segment = dict(
                id=len(segments) + 1, label=int(info['label']),
                class_name=self._class_name(info['label']), isthing=bool(info['isthing']),
                score=float(info['score']))
            panoptic_seg[values == info['id']] = segment['id']
            segments.append(segment)
        return dict(segments_info=segments, panoptic_seg=panoptic_seg)

    def _instances(self, found: InstanceData) -> list[dict]:
        """`instances` of a prediction."""
        masks = (found.masks if isinstance(found.masks, list)
                 else [encode_mask(mask) for mask in found.masks])
        # text, since JSON has no bytes
        masks = [dict(size=list(mask['size']), counts=mask['counts'].decode()) for mask in masks]
        return [dict(label=label, class_name=self._class_name(label), score=score, bbox=bbox,
                     mask=mask)
                for label, score, bbox, mask in zip(
                    found.labels.tolist(), found.scores.tolist(), found.bboxes.tolist(), masks)]

    def _class_name(self, label: int) -> str:
        """Name of a class."""
        return self.model.dataset_meta['classes'][label]

    def _init_model(self, cfg: ConfigDict, weights: str | None, *args, **kwargs) -> nn.Module:
        """Build the model, with the config's edits for tiles."""
        config = str(cfg.filename or 'CONFIG') if isinstance(cfg, Config) else 'CONFIG'
        if weights is not None and (text := foreign_file(str(weights), config)):
            raise CheckpointError(text)
        fill_config(cfg, weights)
        if self._tile is not None:
            use_tiles(cfg, self._tile, self._overlap)
        elif self._overlap is not None:
            raise ValueError('overlap is given without tile: give the size of the tiles too')
        if self._strict_meta:
            cfg.strict_meta = True
        self._weights = str(weights)
        return super()._init_model(cfg, weights, *args, **kwargs)

    def _load_weights_to_model(self, model: nn.Module, checkpoint: dict | None,
                               cfg: ConfigDict) -> None:
        """Load weights, and class names of the config's dataset if the checkpoint has none."""
        meta = (checkpoint or {}).get('meta') or {}
        configured = {} if 'dataset_meta' in meta or 'CLASSES' in meta else config_metainfo(cfg)
        if checkpoint is not None and configured:
            checkpoint = dict(state_dict=checkpoint.get('state_dict', checkpoint),
                              meta=dict(meta, dataset_meta=configured))
        report_differences(setting_differences(meta, cfg), bool(cfg.get(STRICT)), self._weights)
        super()._load_weights_to_model(model, checkpoint, cfg)

    def _test_dataset(self, cfg: ConfigDict) -> BaseDataset:
        """Build the config's test dataset (the first of several) without loading it."""
        options = copy.deepcopy(first_dataset(cfg.test_dataloader.dataset))
        return DATASETS.build(dict(options, lazy_init=True))

    def _init_collate(self, cfg: ConfigDict) -> Callable:
        # mmengine's method warns that mmdet has no registry of functions
        return FUNCTIONS.get(cfg.test_dataloader.get('collate_fn', 'pseudo_collate'))

    def _init_pipeline(self, cfg: ConfigDict) -> Callable:
        """Build the test pipeline for all kinds of inputs, with errors that name the input."""
        prepare = self._prepare = Preparation(cfg, keep_images=False)
        self._color_type, self._backend_args = prepare.color_type, prepare.backend_args

        def load(image: ImageInput) -> dict:
            path = image if isinstance(image, str) else None
            found = prepare(SourceImage(_named(image), image, path))
            if len(found.views) > 1:
                return dict(inputs=found.views, data_samples=found.samples)
            return dict(inputs=found.views[0], data_samples=found.samples[0])

        return load

    def _init_visualizer(self, cfg: ConfigDict) -> Visualizer:
        """Build the config's visualizer without backends, which would also store pictures."""
        if 'visualizer' in cfg:
            cfg.visualizer.vis_backends = []
        return super()._init_visualizer(cfg)

    def _inputs_to_list(self, inputs: object) -> list[ImageInput]:
        return list_images(inputs, self._color_type)


def _named(image: ImageInput) -> str:
    """Name of an input in error texts."""
    if isinstance(image, str):
        return image
    if isinstance(image, np.ndarray):
        return f'the given array of {image.shape[1]}x{image.shape[0]} pixels'
    return 'the given image'

"""Pictures of predictions, one per image."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmdet.engine.hooks import DetVisualizationHook
from mmdet.structures import DetDataSample
from mmengine.dist import get_world_size, master_only
from mmengine.fileio import get
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from mmengine.visualization import LocalVisBackend

from mmpanseg.evaluation.ground_truth import read_ground_truth
from mmpanseg.evaluation.metric_base import sample_name
from mmpanseg.evaluation.panoptic_metric import predicted_segments
from mmpanseg.evaluation.segment_errors import map_errors
from mmpanseg.registry import HOOKS
from mmpanseg.structures.result_file_names import (
    dataset_result_names,
    picture_name,
    result_names,
)
from mmpanseg.structures.sample_image import read_sample_image
from mmpanseg.visualization.picture_files import write_picture


@HOOKS.register_module()
class PanopticVisualizationHook(DetVisualizationHook):
    """mmdet's hook with unique names of the pictures in ``test_out_dir``.

    mmdet names a picture by the last part of the image's path, so that images of the same name in
    two folders overwrite each other, and draws only in the first process. Here names are those of
    :func:`mmpanseg.structures.result_file_names.result_names` with the ending of the image, and
    each process draws its images.

    With ``val_images`` the same images are drawn in every validation, so that one sees a training's
    progress: on the main process, under the training's step and the name ``val/{image}``.

    Args:
        *args: mmdet's.
        val_images: number of images that validations draw, evenly chosen from the data set; or
            parts of their paths. 0: mmdet's rule, with ``draw``: one image every ``interval``
            batches.
        val_interval: validations from one that draws to the next.
        errors: also draw the error map of panoptic predictions, from the ground truth that
            :class:`mmpanseg.evaluation.PanopticMetric` reads. All predicted segments are drawn
            then, whatever their scores. Images without such a ground truth have no error map; one
            that does not fit the prediction is reported once.
        **kwargs: mmdet's.

    Raises:
        ValueError: an argument has another type or is too small.
    """

    def __init__(self, *args: Any, val_images: int | Sequence[str] = 0, val_interval: int = 1,
                 errors: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(val_images, bool) or not (
                isinstance(val_images, int) and val_images >= 0
                or isinstance(val_images, (list, tuple))
                and all(isinstance(part, str) and part for part in val_images)):
            raise ValueError(f'PanopticVisualizationHook.val_images={val_images!r} must be a '
                             'number of images, or a list of parts of their paths')
        if isinstance(val_interval, bool) or not isinstance(val_interval, int) or val_interval < 1:
            raise ValueError(f'PanopticVisualizationHook.val_interval={val_interval!r} must be a '
                             'number of validations, 1 or more')
        if not isinstance(errors, bool):
            raise ValueError(f'PanopticVisualizationHook.errors={errors!r} must be True or False')
        self.val_images, self.val_interval, self.errors = val_images, val_interval, errors
        self._validations = 0
        self._has_warned = False

    @master_only
    def before_val(self, runner: Runner) -> None:
        """Choose the images to draw, and their names."""
        self._chosen: dict[str, str] = {}
        self._validations += 1
        if not self.val_images or (self._validations - 1) % self.val_interval:
            return
        dataset = runner.val_dataloader.dataset
        paths = [dataset.get_data_info(k)['img_path'] for k in range(len(dataset))]
        # other processes load the other images
        paths = list(dict.fromkeys(paths[::get_world_size()]))
        if isinstance(self.val_images, int):
            count = min(self.val_images, len(paths))
            chosen = [paths[k * len(paths) // count] for k in range(count)]
        else:
            chosen = [path for part in self.val_images for path in paths if part in path]
            if not chosen:
                runner.logger.warning(f'PanopticVisualizationHook.val_images={self.val_images}: '
                                      'no image of the validation set has such a path')
        names = result_names(chosen)
        self._chosen = {path: names[path] for path in chosen}

    def before_test(self, runner: Runner) -> None:
        """Assign the names of the pictures."""
        if self.draw and self.test_out_dir is not None:
            self._names = dataset_result_names(runner.test_dataloader.dataset, keep_ending=True)
            self._folder = Path(runner.work_dir, runner.timestamp, self.test_out_dir)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict,
                        outputs: Sequence[DetDataSample]) -> None:
        """Draw every image of a batch."""
        if not self.draw:
            return
        for sample in outputs:
            self._test_index += 1
            image, out_file = self._read(sample), None
            errors = self._error_map(sample)
            if self.test_out_dir is not None:
                out_file = self._folder / picture_name(self._names[sample.img_path])
                picture = self._picture(image, sample, errors)
                if picture is not None:
                    write_picture(out_file, picture)
                    if not self.show:
                        continue
            self._visualizer.add_datasample(
                Path(sample.img_path).name if self.show else 'test_img', image,
                data_sample=sample, show=self.show, wait_time=self.wait_time,
                pred_score_thr=self.score_thr, out_file=out_file and str(out_file),
                step=self._test_index, **errors)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: dict,
                       outputs: Sequence[DetDataSample]) -> None:
        """Draw the chosen images, or the first one of a batch every ``interval`` iterations."""
        if self.val_images:
            self._draw_chosen(runner, outputs)
            return
        step, sample = runner.iter + batch_idx, outputs[0]
        if not self.draw or step % self.interval:
            return
        self._visualizer.add_datasample(
            Path(sample.img_path).name if self.show else 'val_img', self._read(sample),
            data_sample=sample, show=self.show, wait_time=self.wait_time,
            pred_score_thr=self.score_thr, step=step, **self._error_map(sample))

    @master_only
    def _draw_chosen(self, runner: Runner, outputs: Sequence[DetDataSample]) -> None:
        step = 0 if isinstance(runner._train_loop, (dict, type(None))) else runner.iter
        for sample in outputs:
            name = self._chosen.get(sample.img_path)
            if name is None:
                continue
            image = self._read(sample)
            picture = self._picture(image, sample, self._error_map(sample))
            if picture is None:
                self._visualizer.add_datasample(
                    f'val_{name}'.replace('/', '_'), image, data_sample=sample,
                    pred_score_thr=self.score_thr, step=step)
                continue
            for backend in self._visualizer._vis_backends.values():
                # a file in one folder there, a group of pictures elsewhere
                local = isinstance(backend, LocalVisBackend)
                backend.add_image(f'val_{name}'.replace('/', '_') if local else f'val/{name}',
                                  picture, step)

    def _read(self, sample: DetDataSample) -> np.ndarray:
        """Read the image of a sample, uint8 RGB [H, W, 3]."""
        if sample.get('drawn_channels') is not None:
            return read_sample_image(sample.metainfo, self.backend_args)
        return mmcv.imfrombytes(get(sample.img_path, backend_args=self.backend_args),
                                channel_order='rgb')

    def _picture(self, image: np.ndarray, sample: DetDataSample,
                 errors: dict[str, np.ndarray]) -> np.ndarray | None:
        """Draw a picture, None if the visualizer only draws in the first process."""
        draw = getattr(self._visualizer, 'picture', None)
        return None if draw is None else draw(image, sample, pred_score_thr=self.score_thr,
                                              **errors)

    def _error_map(self, sample: DetDataSample) -> dict[str, np.ndarray]:
        """Compute the error map, as argument of visualizers that draw it; {} if there is none."""
        if not self.errors:
            return {}
        if not hasattr(self._visualizer, 'picture'):
            self._warn(f'{type(self._visualizer).__name__} draws no error maps: choose '
                       "visualizer.type='mmpanseg.PanopticVisualizer'")
            return {}
        meta = self._visualizer.dataset_meta or {}
        if not ('classes' in meta and 'thing_classes' in meta
                and 'pred_panoptic_seg' in sample and 'segments_info' in sample
                and sample.get('seg_map_path') is not None):
            return {}
        data, num_classes = sample.to_dict(), len(meta['classes'])
        try:
            gt = read_ground_truth(data, meta, self.backend_args)
            if gt is None:
                return {}
            pred = predicted_segments(data, num_classes)
            return dict(errors=map_errors(gt, pred, num_classes, sample_name(data))[0])
        except (OSError, ValueError) as error:
            # a picture is no reason to end a training
            self._warn('no error map is drawn where ground truth and prediction do not fit: '
                       f'{error}')
            return {}

    def _warn(self, text: str) -> None:
        """Say once why there is no error map."""
        if not self._has_warned:
            MMLogger.get_current_instance().warning(text)
        self._has_warned = True

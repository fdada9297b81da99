"""Panoptic predictions for images, arrays and folders, from Python."""
import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from mmdet.apis import DetInferencer
from mmdet.datasets.transforms import InferencerLoader
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.dataset import Compose
from mmengine.structures import InstanceData, PixelData
from mmengine.visualization import Visualizer
from torch import nn

from mmpanseg.apis.image_inputs import ImageInput, list_images, to_array
from mmpanseg.apis.prediction_files import PredictionFiles
from mmpanseg.apis.test_options import use_tiles
from mmpanseg.models.fusion_heads.instances import encode_mask
from mmpanseg.structures.image_file import ImageError, picture, sample_picture
from mmpanseg.visualization.display import require_display


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

    Raises:
        FileNotFoundError: no image lies at a path or matches a pattern.
        ImageError: an image cannot be read (a ValueError).
        TypeError, ValueError: an input is of another type, or an array is no image; `tile` and
            `overlap` do not go together.
        NoDisplayError: `show=True` where no window can be opened.
    """

    def __init__(self, *args, tile: Sequence[int] | None = None, overlap: int | None = None,
                 **kwargs) -> None:
        self._tile, self._overlap = tile, overlap
        super().__init__(*args, **kwargs)
        self._files = PredictionFiles(
            self.model.dataset_meta['classes'], self.model.num_things_classes)

    def __call__(self, inputs, *args, show: bool = False, no_save_pred: bool = False,
                 **kwargs) -> dict:
        """Predict; see the class."""
        if show:
            require_display()
        return super().__call__(inputs, *args, show=show, no_save_pred=no_save_pred, **kwargs)

    def find_images(self, inputs: object) -> list[ImageInput]:
        """The files, URLs, arrays, PIL images and bytes behind `inputs`, in order."""
        return self._inputs_to_list(inputs)

    def visualize(self, inputs: Sequence, preds: Sequence[DetDataSample], return_vis: bool = False,
                  show: bool = False, wait_time: int = 0, draw_pred: bool = True,
                  pred_score_thr: float = 0.3, no_save_vis: bool = False, img_out_dir: str = '',
                  **kwargs) -> list[np.ndarray] | None:
        """Pictures of the predictions, RGB, upright as the predictions are.

        mmdet's method reads files anew, with other orientations and depths than the model saw.
        """
        folder = '' if no_save_vis else img_out_dir
        if not (show or folder or return_vis):
            return None
        pictures = []
        for source, pred in zip(inputs, preds):
            name = (Path(source).name if isinstance(source, str)
                    else f'{self.num_visualized_imgs:08d}.jpg')
            self.visualizer.add_datasample(
                name, self._picture(source, pred), pred, show=show, wait_time=wait_time,
                draw_gt=False, draw_pred=draw_pred, pred_score_thr=pred_score_thr,
                out_file=str(Path(folder, 'vis', name)) if folder else None)
            pictures.append(self.visualizer.get_image())
            self.num_visualized_imgs += 1
        return pictures

    def _picture(self, source: ImageInput, pred: DetDataSample) -> np.ndarray:
        """uint8 RGB [H,W,3] of an input."""
        if isinstance(source, str):
            return sample_picture(dict(pred.metainfo, img_path=source), self._backend_args)
        if not isinstance(source, np.ndarray):
            source = to_array(source, self._color_type)
        return picture(source)

    def pred2dict(self, data_sample: DetDataSample, pred_out_dir: str = '') -> dict:
        """One prediction as described at the class; written too if there is a folder."""
        result = {}
        if 'pred_panoptic_seg' in data_sample:
            result.update(self._segments(data_sample.pred_panoptic_seg))
        if 'pred_instances' in data_sample:
            result['instances'] = self._instances(data_sample.pred_instances)
        if 'pred_sem_seg' in data_sample:
            result['sem_seg'] = data_sample.pred_sem_seg.sem_seg[0].cpu().numpy()
        if pred_out_dir:
            self._files.write(Path(pred_out_dir) / 'preds', data_sample.get('img_path'),
                              tuple(data_sample.ori_shape[:2]), result)
        return result

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
        known = checkpoint is not None and 'dataset_meta' in checkpoint.get('meta', {})
        meta = {} if known else self._config_meta(cfg)
        if checkpoint is not None and meta:
            checkpoint = dict(state_dict=checkpoint.get('state_dict', checkpoint),
                              meta=dict(checkpoint.get('meta', {}), dataset_meta=meta))
        super()._load_weights_to_model(model, checkpoint, cfg)
        if checkpoint is None and meta:
            model.dataset_meta = meta

    def _config_meta(self, cfg: ConfigDict) -> dict:
        """Metainfo of the config's test dataset, empty if it names no classes."""
        dataset = copy.deepcopy(cfg.test_dataloader.dataset)
        dataset['lazy_init'] = True
        meta = DATASETS.build(dataset).metainfo
        return meta if 'classes' in meta else {}

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

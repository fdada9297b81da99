"""Panoptic predictions for images, arrays and folders, from Python."""
import copy
import glob
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from mmdet.apis import DetInferencer
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.dataset import Compose
from mmengine.visualization import Visualizer
from torch import nn

from mmpanseg.structures.panoptic_png import write_panoptic_png


class ImageError(ValueError):
    """An image that cannot be read; the text names it."""


class PanopticInferencer(DetInferencer):
    """mmdet's DetInferencer, whose results are panoptic segments.

    Arguments are those of DetInferencer: `model` (config file or Config), `weights` (checkpoint),
    `device`. Class names come from the checkpoint, else from the config's test dataset.

    Calling it takes a file, folder, glob pattern, BGR array ([H,W], [H,W,3] or [H,W,4]) or a list
    of these and the options of DetInferencer, and returns a dict:

    - `predictions`: per image a dict of `segments_info`, a list of dict(id, label, class_name,
      isthing, score), and `panoptic_seg`, int32 [H,W], pixel -> id (1, 2, ...), 0 = void. With
      `return_datasamples=True` the model's DetDataSamples instead.
    - `visualization`: per image the drawn uint8 RGB picture, with `return_vis=True`.

    With `out_dir` the pictures go to vis/ and the results to preds/ in it: per image a PNG of
    `panoptic_seg` in COCO's colour coding, and one panoptic.json that describes the PNGs written
    so far (category ids are the contiguous labels). `no_save_vis=True` or `no_save_pred=True`
    leaves one of them out.

    Raises:
        FileNotFoundError: no image lies at a path or matches a pattern.
        ImageError: an image cannot be read (a ValueError).
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._written: list[dict] = []

    def __call__(self, inputs, *args, no_save_pred: bool = False, **kwargs) -> dict:
        """Predict; see the class."""
        return super().__call__(inputs, *args, no_save_pred=no_save_pred, **kwargs)

    def find_images(self, inputs: str | Path | np.ndarray | Sequence) -> list:
        """The files, URLs and arrays that a call with `inputs` would go through, in order."""
        return self._inputs_to_list(inputs)

    def visualize(self, inputs: Sequence, preds: Sequence[DetDataSample], *args, **kwargs):
        """Pictures of the predictions; arrays are BGR, as the model takes them."""
        # mmdet draws on arrays as if they were RGB.
        inputs = [x[..., ::-1] if isinstance(x, np.ndarray) else x for x in inputs]
        return super().visualize(inputs, preds, *args, **kwargs)

    def pred2dict(self, data_sample: DetDataSample, pred_out_dir: str = '') -> dict:
        """One prediction as described at the class; written too if there is a folder."""
        coded = data_sample.pred_panoptic_seg
        values = coded.sem_seg[0].cpu().numpy()
        classes = self.model.dataset_meta['classes']
        panoptic_seg, segments = np.zeros(values.shape, dtype=np.int32), []
        for info in coded.metainfo['segments_info']:
            segment = dict(
                id=len(segments) + 1, label=int(info['label']),
                class_name=classes[info['label']], isthing=bool(info['isthing']),
                score=float(info['score']))
            panoptic_seg[values == info['id']] = segment['id']
            segments.append(segment)
        if pred_out_dir:
            self._write(data_sample, panoptic_seg, segments, Path(pred_out_dir) / 'preds')
        return dict(segments_info=segments, panoptic_seg=panoptic_seg)

    def _write(self, data_sample: DetDataSample, panoptic_seg: np.ndarray, segments: list[dict],
               folder: Path) -> None:
        """Write one PNG, and the JSON of all written so far to this folder."""
        source = data_sample.get('img_path')
        stem = Path(source).stem if source else f'{self.num_predicted_imgs:08d}'
        self.num_predicted_imgs += 1
        here = [entry for entry in self._written if entry['folder'] == folder]
        names = {entry['annotation']['file_name'] for entry in here}
        name, repeat = f'{stem}.png', 1
        while name in names:
            name, repeat = f'{stem}_{repeat}.png', repeat + 1
        write_panoptic_png(folder / name, panoptic_seg)

        height, width = panoptic_seg.shape
        areas = np.bincount(panoptic_seg.ravel(), minlength=len(segments) + 1)
        image = dict(id=len(here), file_name=str(source or name), height=height, width=width)
        annotation = dict(image_id=len(here), file_name=name, segments_info=[
            dict(id=s['id'], category_id=s['label'], iscrowd=0, area=int(areas[s['id']]),
                 score=s['score']) for s in segments])
        here.append(dict(folder=folder, image=image, annotation=annotation))
        self._written.append(here[-1])
        content = dict(images=[entry['image'] for entry in here],
                       annotations=[entry['annotation'] for entry in here],
                       categories=self._categories())
        (folder / 'panoptic.json').write_text(json.dumps(content))

    def _categories(self) -> list[dict]:
        num_things = self.model.num_things_classes
        return [dict(id=label, name=name, isthing=int(label < num_things))
                for label, name in enumerate(self.model.dataset_meta['classes'])]

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

        def load(image: str | np.ndarray) -> dict:
            try:
                return pipeline(image)
            except (AssertionError, OSError, cv2.error) as error:
                # Image readers do not say which file they failed on.
                name = image if isinstance(image, str) else 'the given array'
                raise ImageError(f'{name} cannot be read as an image: the file is empty, damaged '
                                 f'or of another kind ({str(error).strip()})') from error

        return load

    def _init_visualizer(self, cfg: ConfigDict) -> Visualizer:
        """The config's visualizer without storage: pictures go to `out_dir` or the caller."""
        if 'visualizer' in cfg:
            cfg.visualizer.vis_backends = []
        return super()._init_visualizer(cfg)

    def _inputs_to_list(self, inputs: str | Path | np.ndarray | Sequence) -> list:
        """Files, URLs and BGR arrays [H,W,3] behind any kind of input."""
        if isinstance(inputs, (list, tuple)):
            return [item for part in inputs for item in self._inputs_to_list(part)]
        if isinstance(inputs, np.ndarray):
            return [_to_bgr(inputs)]
        path = str(inputs)
        if '://' in path or Path(path).is_file():
            return [path]
        if Path(path).is_dir():
            found = sorted(super()._inputs_to_list(path))
        else:
            found = sorted(name for name in glob.glob(path, recursive=True)
                           if Path(name).is_file())
        if not found:
            raise FileNotFoundError(f'no image found at {path}: give an image file, a folder '
                                    'with images, or a glob pattern that matches some')
        return found


def _to_bgr(image: np.ndarray) -> np.ndarray:
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return cv2.cvtColor(image, cv2.COLOR_BGRA2BGR) if image.shape[2] == 4 else image

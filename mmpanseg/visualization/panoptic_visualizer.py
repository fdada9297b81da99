"""The visualizer that runner hooks and inferencers call."""
import sys
from typing import Any

import numpy as np
import torch
from mmdet.evaluation import INSTANCE_OFFSET
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmdet.visualization.palette import get_palette
from mmengine.dist import master_only
from mmengine.structures import InstanceData, PixelData
from pycocotools import mask as rle_tools

from mmpanseg.datasets.metainfo import CommonMetainfo
from mmpanseg.registry import VISUALIZERS
from mmpanseg.structures import SegmentMap
from mmpanseg.structures.sample_image import match_loaded_image
from mmpanseg.structures.segment_grids import resize_nearest
from mmpanseg.visualization.color import Color
from mmpanseg.visualization.error_map import draw_comparison
from mmpanseg.visualization.palettes import PaletteLike
from mmpanseg.visualization.panoptic import DrawnSegment, draw_panoptic, side_by_side
from mmpanseg.visualization.picture_files import write_picture
from mmpanseg.visualization.styles import STYLES, TRANSPARENT


class NoDisplayError(RuntimeError):
    """A window is requested where none can be opened."""


def require_display() -> None:
    """Check that matplotlib can open a window; without one it would wait for ever.

    Raises:
        NoDisplayError: there is no display, or no toolkit for windows.
    """
    from matplotlib import pyplot
    backend = pyplot.get_backend()
    name = backend.lower().removeprefix('module://')
    # notebooks show pictures without a window
    if 'inline' in name or 'ipympl' in name or 'notebook' in name or 'nbagg' in name:
        return
    if name in {known.lower() for known in _interactive()}:
        return
    raise NoDisplayError(
        f'show: matplotlib has no window to show pictures in (backend {backend}); write them to '
        'files instead (--out, --show-dir, out_dir), or log in with a display (ssh -X) and a '
        'toolkit (e.g. pip install PyQt5)')


def _interactive() -> list[str]:
    """Names of matplotlib's backends that open windows."""
    try:
        from matplotlib.backends.registry import BackendFilter, backend_registry
        return backend_registry.list_builtin(BackendFilter.INTERACTIVE)
    except ImportError:  # matplotlib < 3.9
        import matplotlib

        return matplotlib.rcsetup.interactive_bk  # type: ignore[attr-defined]  # of old versions


# value of void in the maps drawn here, which no segment has
_VOID = -1


@VISUALIZERS.register_module()
class PanopticVisualizer(CommonMetainfo, DetLocalVisualizer):
    """Draws image, prediction and ground truth side by side as panoptic overlays.

    A prediction is drawn as panoptic map if it has one, else as instances (those with higher scores
    on top), else as semantic map. Samples without masks or maps are drawn by mmdet's visualizer.

    Args:
        name: of the visualizer instance.
        *args: further arguments of mmdet's DetLocalVisualizer.
        alpha: opacity of the colors, 0..1.
        min_side: pictures with a longer side of fewer pixels are enlarged to it.
        with_labels: write class names on the segments.
        with_scores: write scores, in percent, after the names of predicted things.
        style: overlay, mask or outlines, see :func:`draw_panoptic`.
        palette: see :func:`draw_panoptic` (default: that of the data set).
        line_width: see :func:`draw_panoptic`.
        label_size: see :func:`draw_panoptic`.
        font: see :func:`draw_panoptic`.
        **kwargs: further arguments of mmdet's DetLocalVisualizer (vis_backends, save_dir, ...).
    """

    def __init__(self, name: str = 'visualizer', *args, alpha: float = 0.55, min_side: int = 800,
                 with_labels: bool = True, with_scores: bool = True, style: str = 'overlay',
                 palette: PaletteLike | None = None, line_width: float | None = None,
                 label_size: float = 1.0, font: str | None = None, **kwargs) -> None:
        super().__init__(name, *args, alpha=alpha, **kwargs)
        if style not in STYLES or style == TRANSPARENT:
            raise ValueError(f'style is one of {", ".join(STYLES[:-1])}, not {style!r}: backends '
                             'store pictures without transparency')
        self.draw_options: dict[str, Any] = dict(
            alpha=alpha, min_side=min_side, with_labels=with_labels, with_scores=with_scores,
            style=style, palette=palette, line_width=line_width, label_size=label_size, font=font)

    @master_only
    def add_datasample(self,
                       name: str,
                       image: np.ndarray,
                       data_sample: DetDataSample | None = None,
                       draw_gt: bool = True,
                       draw_pred: bool = True,
                       show: bool = False,
                       wait_time: float = 0,
                       out_file: str | None = None,
                       pred_score_thr: float = 0.3,
                       step: int = 0,
                       errors: np.ndarray | None = None) -> None:
        """Draw a sample, then show it, write it to `out_file` or pass it to the backends.

        Args:
            name: identifier of the picture, and title of the window.
            image: RGB [H, W, 3], 0..255.
            data_sample: sample whose prediction and `gt_segments` are drawn, as far as it has
                them. Maps of another size than the image are resized to it.
            draw_gt: draw the ground truth.
            draw_pred: draw the prediction.
            show: open a window (the backends get nothing then).
            wait_time: seconds until the window closes; 0 means until a key is pressed.
            out_file: path of the picture; its suffix determines the format.
            pred_score_thr: predicted things with a lower score are left out.
            step: step under which backends store the picture.
            errors: see :meth:`picture`.
        """
        picture = self.picture(image, data_sample, draw_gt, draw_pred, pred_score_thr, errors)
        if picture is None:
            super().add_datasample(name, image, data_sample, draw_gt, draw_pred, show, wait_time,
                                   out_file, pred_score_thr, step)
            return

        self.set_image(picture)
        if show:
            self.show(picture, win_name=name, wait_time=wait_time)
        if out_file is not None:
            write_picture(out_file, picture)
        elif not show:
            self.add_image(name, picture, step)

    def picture(self, image: np.ndarray, data_sample: DetDataSample | None, draw_gt: bool = True,
                draw_pred: bool = True, pred_score_thr: float = 0.3,
                errors: np.ndarray | None = None) -> np.ndarray | None:
        """Create the picture of :meth:`add_datasample`, on any rank.

        Args:
            image: RGB [H, W, 3], 0..255.
            data_sample: see :meth:`add_datasample`.
            draw_gt: draw the ground truth.
            draw_pred: draw the prediction.
            pred_score_thr: predicted things with a lower score are left out.
            errors: error map of the sample, uint8 [H, W], see
                :func:`mmpanseg.evaluation.segment_errors.error_map`; it is drawn beside prediction
                and ground truth if both are. It is about all segments, so all are drawn, whatever
                their scores.

        Returns:
            uint8 RGB [H', W', 3]; None if only mmdet's visualizer can draw the sample.
        """
        if data_sample is None:
            return None
        has_pred = draw_pred and _has_prediction(data_sample)
        has_gt = draw_gt and 'gt_segments' in data_sample
        if not has_pred and not has_gt:
            return None
        image = match_loaded_image(image.clip(0, 255).astype(np.uint8), data_sample.metainfo)
        if not (has_pred and has_gt):
            errors = None
        panels = []
        if has_pred:
            pan_map, segments = self._prediction(
                data_sample, pred_score_thr if errors is None else -np.inf)
            panels.append(('prediction', self._draw(image, pan_map, segments)))
        if not has_gt:
            return panels[0][1]
        pan_map, segments = self._ground_truth(data_sample.gt_segments)
        panels.append(('ground truth', self._draw(image, pan_map, segments)))
        if errors is not None:
            size = image.shape[:2]
            return draw_comparison(
                image, panels[0][1], panels[1][1], resize_nearest(errors, size),
                resize_nearest(pan_map, size), self.draw_options['min_side'])
        panels.insert(0, ('image', self._draw(image, np.full(image.shape[:2], _VOID), [])))
        return side_by_side(panels)

    def show(self, *args, **kwargs) -> None:
        """Show a picture in a window, see :meth:`mmengine.visualization.Visualizer.show`.

        Raises:
            NoDisplayError: no window can be opened.
        """
        if kwargs.get('backend', 'matplotlib') == 'matplotlib':
            require_display()
        return super().show(*args, **kwargs)

    def _draw(self, image: np.ndarray, pan_map: np.ndarray,
              segments: list[DrawnSegment]) -> np.ndarray:
        num_labels = max((segment.label for segment in segments), default=-1) + 1
        return draw_panoptic(image, resize_nearest(pan_map, image.shape[:2]), segments,
                             self._classes(num_labels), base_palette=self._palette(num_labels),
                             **self.draw_options)

    def _classes(self, num_labels: int) -> list[str]:
        """Names of the labels; labels without a name are called by their number."""
        classes = list((self.dataset_meta or {}).get('classes') or [])
        return classes + [f'class {label}' for label in range(len(classes), num_labels)]

    def _palette(self, num_labels: int) -> list[Color] | None:
        """Colors of the dataset; None if it has none, or too few."""
        palette = (self.dataset_meta or {}).get('palette')
        if isinstance(palette, str) and palette != 'random':
            palette = get_palette(palette, num_labels)
        if palette is None or isinstance(palette, str) or len(palette) < num_labels:
            return None
        return palette

    def _prediction(self, sample: DetDataSample,
                    score_thr: float) -> tuple[np.ndarray, list[DrawnSegment]]:
        """Map and segments of a prediction of any kind."""
        if 'pred_panoptic_seg' in sample:
            return self._panoptic(sample.pred_panoptic_seg, score_thr)
        if 'pred_instances' in sample:
            return _instances(sample.pred_instances, tuple(sample.ori_shape[:2]), score_thr)
        labels = _to_numpy(sample.pred_sem_seg.sem_seg).squeeze(0)
        return labels, [DrawnSegment(int(k), int(k), False) for k in np.unique(labels)]

    def _panoptic(self, pred: PixelData, score_thr: float) -> tuple[np.ndarray, list[DrawnSegment]]:
        """Map and segments of a panoptic prediction in mmdet's coding."""
        pan_map = _to_numpy(pred.sem_seg).squeeze(0)
        infos = pred.metainfo.get('segments_info')
        if infos is not None:
            segments = [DrawnSegment(int(info['id']), int(info['label']), bool(info['isthing']),
                                info.get('score')) for info in infos]
        else:
            num_classes = len((self.dataset_meta or {}).get('classes') or ()) or INSTANCE_OFFSET
            segments = [DrawnSegment(int(i), int(i) % INSTANCE_OFFSET, int(i) >= INSTANCE_OFFSET)
                        for i in np.unique(pan_map) if int(i) % INSTANCE_OFFSET < num_classes]
        return pan_map, [segment for segment in segments
                         if not segment.is_thing or segment.score is None
                         or segment.score >= score_thr]

    def _ground_truth(self, truth: SegmentMap) -> tuple[np.ndarray, list[DrawnSegment]]:
        """Map and segments of a ground truth; smaller ones of overlapping masks are on top."""
        labels = _to_numpy(truth.labels)
        if truth.map is not None:
            pan_map = _to_numpy(truth.map)
        else:
            masks = _to_numpy(truth.masks)
            pan_map = np.full(masks.shape[1:], _VOID, dtype=np.int64)
            for k in np.argsort(-masks.sum(axis=(1, 2)), kind='stable'):
                pan_map[masks[k]] = k
        num_things = self._num_things()
        return pan_map, [DrawnSegment(k, int(label), int(label) < num_things)
                         for k, label in enumerate(labels)]

    def _num_things(self) -> int:
        """Number of thing classes; unlimited if the dataset does not have ``thing_classes``."""
        things = (self.dataset_meta or {}).get('thing_classes')
        return sys.maxsize if things is None else len(things)


def _has_prediction(sample: DetDataSample) -> bool:
    """Whether a sample has a prediction with maps or masks."""
    return ('pred_panoptic_seg' in sample or 'pred_sem_seg' in sample
            or 'masks' in sample.get('pred_instances', ()))


def _instances(pred: InstanceData, size: tuple[int, int],
               score_thr: float) -> tuple[np.ndarray, list[DrawnSegment]]:
    """Map and segments of instances; those with a higher score are on top of others."""
    pan_map, segments = np.full(size, _VOID, dtype=np.int64), []
    scores, labels = _to_numpy(pred.scores), _to_numpy(pred.labels)
    for k in np.argsort(scores, kind='stable'):
        if scores[k] < score_thr:
            continue
        mask = pred.masks[k]
        mask = rle_tools.decode(mask).astype(bool) if isinstance(mask, dict) else _to_numpy(mask)
        pan_map[mask] = k
        segments.append(DrawnSegment(int(k), int(labels[k]), True, float(scores[k])))
    return pan_map, segments


def _to_numpy(value: torch.Tensor | np.ndarray) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)

"""Changes to a config that test-time options stand for."""
import copy
from collections.abc import Sequence

from mmengine.config import Config, ConfigDict

RESIZE = ('Resize', 'mmdet.Resize', 'mmcv.Resize')
LOAD_IMAGE = ('LoadImageFromFile', 'mmdet.LoadImageFromFile', 'mmcv.LoadImageFromFile')


def use_tiles(cfg: Config, tile: Sequence[int], overlap: int | None = None) -> None:
    """Predict images in tiles, at the size of their files: the pipeline's ``Resize`` goes.

    Args:
        tile: (height, width) in pixels.
        overlap: pixels that neighbouring tiles share (default: an eighth of the tile's smaller
            side).
    """
    tile = tuple(int(length) for length in tile)
    options = dict(cfg.model.get('test_cfg') or {}, mode='tile', tile=tile,
                   overlap=max(1, min(tile) // 8) if overlap is None else int(overlap))
    cfg.model.test_cfg = ConfigDict(options)
    dataset = find_test_dataset(cfg)
    dataset.pipeline = [step for step in dataset.pipeline if step['type'] not in RESIZE]


def use_tta(cfg: Config) -> None:
    """Test with augmentation: the model in ``tta_model``, the data through ``tta_pipeline``.

    A config without ``tta_model`` gets mmpanseg.PanopticTTAModel; without ``tta_pipeline``, one is
    made of the test pipeline, see :func:`make_tta_pipeline`, with the config's ``tta_scales``
    (default: the test size alone) and ``tta_flip`` (default: True).
    """
    dataset = find_test_dataset(cfg)
    pipeline = cfg.get('tta_pipeline')
    if pipeline is None:
        pipeline = make_tta_pipeline(
            dataset.pipeline, cfg.get('tta_scales', (1.0, )), cfg.get('tta_flip', True))
    dataset.pipeline = pipeline
    wrapper = cfg.get('tta_model') or dict(type='mmpanseg.PanopticTTAModel')
    cfg.model = ConfigDict(dict(wrapper, module=cfg.model))


def make_tta_pipeline(pipeline: Sequence[dict], scales: Sequence[float] = (1.0, ),
                      flip: bool = True) -> list[dict]:
    """A test pipeline with every combination of scale and horizontal flip.

    Args:
        pipeline: the plain one; its ``Resize`` sets the size that the scales are relative to, or
            the size of the file does if there is none.
        scales: factors; the view that others are matched to is the first one, without a flip.
        flip: also flip every scale.

    Raises:
        ValueError: the pipeline has a ``Resize`` that a factor cannot be applied to.
    """
    at = next((k for k, step in enumerate(pipeline) if step['type'] in RESIZE), None)
    if at is None:
        # behind the step that loads the image
        at = 1 + next(k for k, step in enumerate(pipeline) if step['type'] in LOAD_IMAGE)
        head, tail = pipeline[:at], pipeline[at:]
        resizes = [dict(type='Resize', scale_factor=float(scale), keep_ratio=True)
                   for scale in scales]
    else:
        head, tail = pipeline[:at], pipeline[at + 1:]
        resizes = [_scaled(pipeline[at], scale) for scale in scales]
    flips = [dict(type='RandomFlip', prob=0.0)] + [dict(type='RandomFlip', prob=1.0)] * flip
    return [*head, dict(type='TestTimeAug',
                        transforms=[resizes, flips, *([step] for step in tail)])]


def _scaled(resize: dict, factor: float) -> dict:
    """A ``Resize`` step to a size changed by a factor."""
    resize = copy.deepcopy(dict(resize))
    for key in ('scale', 'scale_factor'):
        if resize.get(key) is not None:
            old = resize[key]
            if isinstance(old, (tuple, list)):
                kind = int if key == 'scale' else float
                resize[key] = tuple(kind(length * factor + 0.5 * (kind is int)) for length in old)
            else:
                resize[key] = (int(old * factor + 0.5) if key == 'scale' else old * factor)
            return resize
    raise ValueError('the test pipeline has a Resize without scale or scale_factor: give '
                     'tta_pipeline in the config')


def find_test_dataset(cfg: Config) -> ConfigDict:
    """Config of the test dataset that has the pipeline, inside wrappers.

    Raises:
        ValueError: there is none.
    """
    dataset = cfg.test_dataloader.dataset
    while 'pipeline' not in dataset:
        if 'dataset' not in dataset:
            raise ValueError('test_dataloader.dataset has no pipeline: give it one')
        dataset = dataset.dataset
    return dataset

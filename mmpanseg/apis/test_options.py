"""Changes to a config that test-time options stand for."""
import copy
from collections.abc import Sequence

from mmcv.transforms import LoadImageFromFile, RandomChoiceResize, RandomResize, Resize, TestTimeAug
from mmengine.config import Config, ConfigDict

from mmpanseg.registry import TRANSFORMS

# steps that change the size in ways that no factor can be applied to
_OTHER_RESIZES = (RandomResize, RandomChoiceResize)


def use_tiles(cfg: Config, tile: Sequence[int], overlap: int | None = None) -> None:
    """Predict images in tiles, at the size of their files: the pipeline's ``Resize`` goes.

    Args:
        tile: (height, width) in pixels.
        overlap: pixels that neighboring tiles share (default: an eighth of the tile's smaller
            side).
    """
    tile = tuple(int(length) for length in tile)
    options = dict(cfg.model.get('test_cfg') or {}, mode='tile', tile=tile,
                   overlap=max(1, min(tile) // 8) if overlap is None else int(overlap))
    cfg.model.test_cfg = ConfigDict(options)
    dataset = find_test_dataset(cfg)
    dataset.pipeline = [step for step in dataset.pipeline
                        if not _is_a(step, (Resize, *_OTHER_RESIZES))]


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
        ValueError: the pipeline has a ``Resize`` that a factor cannot be applied to, several steps
            that change the size, views of its own, or nothing that loads an image.
    """
    for step in pipeline:
        if _is_a(step, (TestTimeAug, *_OTHER_RESIZES)):
            raise ValueError(f'the test pipeline has {step["type"]}, of which no views can be '
                             'made: give tta_pipeline in the config')
    sizing = [k for k, step in enumerate(pipeline) if _is_a(step, Resize)]
    if len(sizing) > 1:
        raise ValueError(
            'the test pipeline has several steps that change the size '
            f'({", ".join(str(pipeline[k]["type"]) for k in sizing)}): give tta_pipeline in the '
            'config')
    if not sizing:
        # behind the step that loads the image
        loading = [k for k, step in enumerate(pipeline) if _is_a(step, LoadImageFromFile)]
        if not loading:
            raise ValueError('the test pipeline has no LoadImageFromFile: give tta_pipeline in the '
                             'config')
        at = 1 + loading[0]
        head, tail = pipeline[:at], pipeline[at:]
        resizes = [dict(type='Resize', scale_factor=float(scale), keep_ratio=True)
                   for scale in scales]
    else:
        at = sizing[0]
        head, tail = pipeline[:at], pipeline[at + 1:]
        resizes = [_scaled(pipeline[at], scale) for scale in scales]
    flips = [dict(type='RandomFlip', prob=0.0)] + [dict(type='RandomFlip', prob=1.0)] * flip
    return [*head, dict(type='TestTimeAug',
                        transforms=[resizes, flips, *([step] for step in tail)])]


def _is_a(step: dict, kinds: type | tuple[type, ...]) -> bool:
    """Whether a step is of a class or of one derived from it, such as mmdet's FixScaleResize."""
    kind = step['type']
    if isinstance(kind, str):
        with TRANSFORMS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    return isinstance(kind, type) and issubclass(kind, kinds)


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

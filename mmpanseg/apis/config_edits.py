"""Config edits for tiled prediction and for test-time augmentation."""
import copy
from collections.abc import Sequence

from mmcv.transforms import LoadImageFromFile, RandomChoiceResize, RandomResize, Resize, TestTimeAug
from mmengine.config import Config, ConfigDict

from mmpanseg.registry import TRANSFORMS

# steps whose size is random, so that no factor can be applied to it
_OTHER_RESIZES = (RandomResize, RandomChoiceResize)


def use_tiles(cfg: Config, tile: Sequence[int], overlap: int | None = None) -> None:
    """Predict images in tiles, at the size of their files.

    Sets ``model.test_cfg`` and removes the resizing of the test pipeline.

    Args:
        cfg: the config to edit.
        tile: (height, width) of a tile in pixels.
        overlap: least number of pixels that neighboring tiles share (default: an eighth of the
            tile's smaller side).
    """
    sides = tuple(int(length) for length in tile)
    options = dict(cfg.model.get('test_cfg') or {}, mode='tile', tile=sides,
                   overlap=max(1, min(sides) // 8) if overlap is None else int(overlap))
    cfg.model.test_cfg = ConfigDict(options)
    dataset = find_test_dataset(cfg)
    dataset.pipeline = [step for step in dataset.pipeline
                        if not _is_a(step, (Resize, *_OTHER_RESIZES))]


def use_tta(cfg: Config) -> None:
    """Test with augmentation: wrap the model in ``tta_model``, load data with ``tta_pipeline``.

    Default of ``tta_model`` is mmpanseg.PanopticTTAModel. Default of ``tta_pipeline`` is the result
    of :func:`make_tta_pipeline` for the test pipeline and the config's ``tta_scales`` (default: the
    test size only) and ``tta_flip`` (default: True).

    Args:
        cfg: the config to edit.
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
    """Create a test pipeline with every combination of scale and horizontal flip.

    Args:
        pipeline: test pipeline without augmentation. Scales are relative to the size that its
            ``Resize`` produces, or to the size of the file without one.
        scales: factors. The first one, without flip, is the view that others are matched with.
        flip: whether each scale is also predicted with a horizontal flip.

    Returns:
        the pipeline with a ``TestTimeAug`` step.

    Raises:
        ValueError: the pipeline has a ``Resize`` that a factor cannot be applied to, several steps
            that change the size, augmented views already, or no step that loads an image.
    """
    for step in pipeline:
        if _is_a(step, (TestTimeAug, *_OTHER_RESIZES)):
            raise ValueError(f'the test pipeline has {step["type"]}, from which no views can be '
                             'created: give tta_pipeline in the config')
    sizing = [k for k, step in enumerate(pipeline) if _is_a(step, Resize)]
    if len(sizing) > 1:
        raise ValueError(
            'the test pipeline has several steps that change the size '
            f'({", ".join(str(pipeline[k]["type"]) for k in sizing)}): give tta_pipeline in the '
            'config')
    if not sizing:
        # after the step that loads the image
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
    """Whether a step has a class or a subclass of it, such as mmdet's FixScaleResize."""
    kind = step['type']
    if isinstance(kind, str):
        with TRANSFORMS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    return isinstance(kind, type) and issubclass(kind, kinds)


def _scaled(resize: dict, factor: float) -> dict:
    """Copy of a ``Resize`` step with its size multiplied by a factor."""
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
    """Find the config of the test dataset with the pipeline, inside of wrappers.

    Args:
        cfg: config of a model and its data.

    Raises:
        ValueError: no dataset has a pipeline.
    """
    dataset = cfg.test_dataloader.dataset
    while 'pipeline' not in dataset:
        if 'dataset' not in dataset:
            raise ValueError('test_dataloader.dataset has no pipeline: give it one')
        dataset = dataset.dataset
    return dataset

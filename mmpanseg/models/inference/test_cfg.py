"""Options of ``model.test_cfg``: which outputs a model predicts, and how images are tiled."""
from dataclasses import dataclass, fields
from typing import TypeVar

from mmpanseg.utils.config_checks import describe_unknown_keys, resolve_option

TEST_MODES = ('whole', 'tile')
MASK_FORMATS = ('dense', 'rle')
SEMANTIC_RESIZE = ('masks', 'scores')


@dataclass(frozen=True)
class OutputOptions:
    """Options of the outputs.

    Args:
        panoptic_on: predict ``pred_panoptic_seg``.
        instance_on: predict ``pred_instances``.
        semantic_on: predict ``pred_sem_seg``.
        max_per_image: number of (query, class) pairs selected as instances, stuff included.
        mask_format: 'dense' (instances as one bool tensor [n, H, W]), or 'rle' (n COCO run-length
            encodings, which use little memory on large images).
        semantic_resize: what is resized to the size of the result before the arg-max over classes:
            'masks' or 'scores'. Default: as published, scores if only ``semantic_on`` is set, else
            masks.

    Raises:
        ValueError: an option has an impossible value; the text names the key.
    """

    panoptic_on: bool = True
    instance_on: bool = False
    semantic_on: bool = False
    max_per_image: int = 100
    mask_format: str = 'dense'
    semantic_resize: str | None = None

    def __post_init__(self) -> None:
        if not (self.panoptic_on or self.instance_on or self.semantic_on):
            raise ValueError('model.test_cfg switches every output off: set panoptic_on, '
                             'instance_on or semantic_on')
        if self.max_per_image < 1:
            raise ValueError(
                f'model.test_cfg.max_per_image={self.max_per_image} must be at least 1')
        resolve_option('model.test_cfg.mask_format', self.mask_format, dict.fromkeys(MASK_FORMATS))
        if self.semantic_resize is not None:
            resolve_option('model.test_cfg.semantic_resize', self.semantic_resize,
                           dict.fromkeys(SEMANTIC_RESIZE))

    @property
    def resize_scores(self) -> bool:
        """Whether semantic scores are resized instead of mask logits."""
        if self.semantic_resize is None:
            return not (self.panoptic_on or self.instance_on)
        return self.semantic_resize == 'scores'


@dataclass(frozen=True)
class TilingOptions:
    """Options of tiled prediction, used with ``mode='tile'``.

    Args:
        tile: (height, width) of a tile in pixels of the network's input image.
        overlap: least number of pixels that neighboring tiles share.
        merge_iou: least IoU within the overlap at which things of two tiles are merged, in (0, 1].

    Raises:
        ValueError: an option has an impossible value; the text names the key.
    """

    tile: tuple[int, int] = (1024, 1024)
    overlap: int = 128
    merge_iou: float = 0.5

    def __post_init__(self) -> None:
        if len(self.tile) != 2 or min(self.tile) < 1:
            raise ValueError(f'model.test_cfg.tile={self.tile} must be height and width in pixels')
        if not 0 < self.overlap < min(self.tile):
            raise ValueError(
                f'model.test_cfg.overlap={self.overlap} must be between 1 and '
                f'{min(self.tile) - 1}, less than the tile size {tuple(self.tile)}: things of '
                'neighboring tiles are merged by their IoU within the overlap')
        if not 0 < self.merge_iou <= 1:
            raise ValueError(f'model.test_cfg.merge_iou={self.merge_iou} must be in (0, 1]')


def read_test_cfg(test_cfg: dict) -> tuple[OutputOptions, TilingOptions | None]:
    """Read ``model.test_cfg``.

    Args:
        test_cfg: options of both classes, and ``mode``: 'whole' (default) or 'tile'.

    Returns:
        options of the outputs, and of the tiles; None for the latter with ``mode='whole'``.

    Raises:
        ValueError: a key is unknown or a value is impossible; the text names it.
    """
    mode = test_cfg.get('mode', 'whole')
    resolve_option('model.test_cfg.mode', mode, dict.fromkeys(TEST_MODES))
    text = describe_unknown_keys(
        'model.test_cfg', test_cfg, {'mode', *_names(OutputOptions), *_names(TilingOptions)})
    if text:
        raise ValueError(text)
    outputs, tiling = _select(OutputOptions, test_cfg), _select(TilingOptions, test_cfg)
    tiling_keys = sorted(_names(TilingOptions).intersection(test_cfg))
    if tiling_keys and 'mode' not in test_cfg:
        raise ValueError(
            f"model.test_cfg.{tiling_keys[0]} is for tiles: set model.test_cfg.mode='tile' "
            "(or 'whole', to keep the option without effect)")
    return outputs, tiling if mode == 'tile' else None


Options = TypeVar('Options', OutputOptions, TilingOptions)


def _names(kind: type[Options]) -> set[str]:
    return {field.name for field in fields(kind)}


def _select(kind: type[Options], test_cfg: dict) -> Options:
    """Options of one kind among those of a config."""
    return kind(**{name: test_cfg[name] for name in _names(kind) if name in test_cfg})

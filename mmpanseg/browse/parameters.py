"""Describes in words what transforms did: scale, crop, flip, color jitter."""
import os.path as osp
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mmpanseg.browse.recording import Step

_HIDDEN = ('Load', 'Pack', 'FilterLabeledPixels', 'FilterAnnotations', 'Compose')


def describe_steps(steps: Sequence[Step]) -> list[str]:
    """Describe the steps of a sample.

    Args:
        steps: see :meth:`mmpanseg.browse.recording.Recorder.steps`.

    Returns:
        a short text per transform with an effect. Loading and packing are left out, and transforms
        that only call others. What is done to a second image is in the text of the transform that
        adds it.
    """
    texts: list[str] = []
    second: list[str] = []
    mixing: str | None = None
    for step in [*steps, None]:
        if mixing is not None and (step is None or step.depth == 0):
            texts.append(f'{mixing} ({", ".join(second)})' if second else mixing)
            mixing, second = None, []
        if step is None or step.has_children and 'mixed' not in step.before:
            continue
        text = describe_step(step)
        if text is None:
            continue
        if 'mixed' in step.before:
            mixing = text
        else:
            (texts if mixing is None else second).append(text)
    return texts


def describe_step(step: Step) -> str | None:
    """Describe one step; None for transforms that only load or pack."""
    names = [kind.__name__ for kind in type(step.transform).__mro__]
    if names[0].startswith(_HIDDEN):
        return None
    if step.after is None:
        return f'{names[0]} rejects the sample'
    if 'mixed' in step.before:
        images = ', '.join(osp.basename(str(path)) for path in step.before['mixed'])
        return f'{names[0]} of {images}'
    for name in names:
        if name in _DESCRIBED:
            return _DESCRIBED[name](step)
    return _describe_other(names[0], step)


def _resize(step: Step) -> str:
    assert step.after is not None
    (height, width), (new_height, new_width) = step.before['size'], step.after['size']
    if (height, width) == (new_height, new_width):
        return 'scale 1'
    x, y = new_width / width, new_height / height
    # both sides are rounded to pixels
    same = abs(x - y) * min(width, height) <= 1
    factor = f'{x:.3g}' if same else f'{x:.3g} x {y:.3g}'
    return f'scale {factor} to {new_width}x{new_height}'


def _crop(step: Step) -> str:
    assert step.after is not None
    height, width = step.after['size']
    if step.before['size'] == (height, width):
        return 'no crop'
    offset = step.drawn.get('_rand_offset')
    place = '' if offset is None else f' at x={offset[1]}, y={offset[0]}'
    return f'crop {width}x{height}{place}'


def _flip(step: Step) -> str:
    assert step.after is not None
    direction = step.after.get('flip_direction')
    return f'flip {direction}' if step.after.get('flip') and direction else 'no flip'


def _pad(step: Step) -> str:
    assert step.after is not None
    height, width = step.after['size']
    return 'no padding' if step.before['size'] == (height, width) else f'pad to {width}x{height}'


def _ssd_jitter(step: Step) -> str:
    contrast_first, (brightness, contrast, saturation, hue) = step.drawn['_draw']
    return _color(brightness, contrast, saturation, hue, bool(contrast_first), hue_unit=2)


def _photometric(step: Step) -> str:
    (mode, has_brightness, has_contrast, has_saturation, has_hue, swaps, brightness, contrast,
     saturation, hue, order) = step.drawn['_random_flags']
    text = _color(
        brightness if has_brightness else None, contrast if has_contrast else None,
        saturation if has_saturation else None, hue if has_hue else None, mode == 1)
    if swaps:
        text += f', channels {"".join(map(str, order))}'
    return text


def _channel_jitter(step: Step) -> str:
    drawn = step.drawn['_draw']
    if drawn is None:
        return 'no channel jitter'
    contrast, brightness = ('/'.join(format(float(value), form) for value in values)
                            for values, form in zip(drawn, ('.2f', '+.2f')))
    return f'contrast x{contrast}, brightness {brightness} std'


def _color(brightness: float | None, contrast: float | None, saturation: float | None,
           hue: float | None, contrast_first: bool, hue_unit: float = 1) -> str:
    """Describe color jitter in the order in which it was applied; hues in degrees."""
    parts = dict(
        brightness=None if brightness is None else f'brightness {brightness:+.0f}',
        contrast=None if contrast is None else f'contrast x{contrast:.2f}',
        saturation=None if saturation is None else f'saturation x{saturation:.2f}',
        hue=None if hue is None else f'hue {hue_unit * hue:+.0f} deg')
    order = ('brightness', 'contrast', 'saturation', 'hue') if contrast_first else (
        'brightness', 'saturation', 'hue', 'contrast')
    chosen = [text for text in map(parts.get, order) if text is not None]
    return ', '.join(chosen) or 'no color jitter'


def _affine(step: Step) -> np.ndarray | None:
    """Matrix [3, 3] of a geometric transform of mmdet; None without one."""
    after = (step.after or {}).get('homography_matrix')
    if after is None:
        return None
    before = step.before.get('homography_matrix')
    return after if before is None else after @ np.linalg.inv(before)


def _geometric(describe: Callable[[np.ndarray], str]) -> Callable[[Step], str]:
    def of_step(step: Step) -> str:
        matrix = _affine(step)
        if matrix is None or np.allclose(matrix, np.eye(3)):
            return f'no {type(step.transform).__name__}'
        return describe(matrix)
    return of_step


def _describe_other(name: str, step: Step) -> str:
    """Describe an unknown transform by what it drew and by sizes."""
    assert step.after is not None
    parts = [f'{key.strip("_")}={_short(value)}' for key, value in step.drawn.items()]
    size = step.after.get('size')
    if size is not None and size != step.before.get('size'):
        parts.append(f'to {size[1]}x{size[0]}')
    return f'{name} ({", ".join(parts)})' if parts else name


def _short(value: Any) -> str:
    if isinstance(value, (float, np.floating)):
        return f'{value:.3g}'
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return f'[{", ".join(map(_short, value[:6]))}{", ..." if len(value) > 6 else ""}]'
    return str(value)[:60]


_DESCRIBED: dict[str, Callable[[Step], str]] = {
    'Resize': _resize, 'RandomCrop': _crop, 'CenterCrop': _crop, 'RandomFlip': _flip, 'Pad': _pad,
    'ChannelJitter': _channel_jitter, 'SSDColorJitter': _ssd_jitter,
    'PhotoMetricDistortion': _photometric,
    'Rotate': _geometric(lambda m: f'rotate {np.degrees(np.arctan2(m[1, 0], m[0, 0])):.1f} deg'),
    'ShearX': _geometric(lambda m: f'shear x {m[0, 1]:+.2f}'),
    'ShearY': _geometric(lambda m: f'shear y {m[1, 0]:+.2f}'),
    'TranslateX': _geometric(lambda m: f'move x {m[0, 2]:+.0f}'),
    'TranslateY': _geometric(lambda m: f'move y {m[1, 2]:+.0f}')}

"""Channels of images: comparison with the model, and pretrained weights of another number."""
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

# ways to make weights for channels that a checkpoint was not trained with
ADAPTATIONS = ('repeat', 'average', 'zero')


def adapt_first_convolution(weight: Tensor, channels: int, how: str) -> Tensor:
    """Convert the weights of a first convolution to another number of channels.

    - ``repeat``: channel c gets the weights of channel c mod C, all times C / channels.
    - ``average``: every channel gets the mean of the C channels, times C / channels. Images whose
      channels are equal have the same features as before. For gray images, and for channels that
      are no colors.
    - ``zero``: the first C channels keep their weights, further ones have 0. Features are those of
      the first C channels until training changes the weights.

    Args:
        weight: [N, C, kh, kw].
        channels: new number of channels.
        how: one of :data:`ADAPTATIONS`.

    Returns:
        [N, channels, kh, kw].

    Raises:
        ValueError: ``zero`` for fewer channels than C.
    """
    known = weight.shape[1]
    if how == 'repeat':
        return weight[:, torch.arange(channels) % known] * (known / channels)
    if how == 'average':
        return weight.mean(1, keepdim=True).expand(-1, channels, -1, -1) * (known / channels)
    if channels < known:
        raise ValueError(
            f"model.new_channels='zero' keeps the weights of {known} channels, but "
            f"model.backbone.in_channels is {channels}: use model.new_channels='average'")
    return torch.cat([weight, weight.new_zeros(
        len(weight), channels - known, *weight.shape[2:])], dim=1)


def first_convolution(backbone: nn.Module) -> tuple[str, nn.Conv2d] | None:
    """Find the convolution that receives the image, the first one, and its name."""
    for name, module in backbone.named_modules():
        if isinstance(module, nn.Conv2d):
            return name, module
    return None


def adapt_pretrained(backbone: nn.Module, how: str | None) -> None:
    """Let a backbone load weights that were trained with another number of channels.

    The first convolution adapts them, wherever they come from: ``init_cfg`` of the backbone,
    ``load_from``, or a call of ``load_state_dict``. What it did is logged.

    Args:
        backbone: the module.
        how: one of :data:`ADAPTATIONS`; None: such weights are an error.

    Raises:
        ValueError: ``how`` is unknown, or the backbone does not start with a convolution.
    """
    if how not in (None, *ADAPTATIONS):
        raise ValueError(f'model.new_channels={how!r} must be one of {", ".join(ADAPTATIONS)}')
    found = first_convolution(backbone)
    if found is not None:
        found[1].register_load_state_dict_pre_hook(partial(_before_loading, how, found[0]))
    elif how is not None:
        raise ValueError(f'model.new_channels={how!r}: {type(backbone).__name__} has no '
                         'convolution, whose weights would be adapted: leave it out')


def _before_loading(how: str | None, name: str, convolution: nn.Conv2d, state_dict: dict,
                    prefix: str, *_: Any) -> None:
    _adapt_entry(state_dict, f'{prefix}weight', convolution, how, name)


def adapt_checkpoint(backbone: nn.Module, how: str | None, weights: dict) -> None:
    """Adapt the weights of a whole model before they are compared with it, in place.

    Args:
        backbone: the model's.
        how: see :func:`adapt_pretrained`.
        weights: tensors by name, with the prefix ``backbone.``.

    Raises:
        ValueError: the channels differ, and ``how`` is None.
    """
    found = first_convolution(backbone)
    if found is None:
        return
    name, convolution = found
    for key in (f'backbone.{name}.weight', f'module.backbone.{name}.weight'):
        _adapt_entry(weights, key, convolution, how, name)


def _adapt_entry(weights: dict, key: str, convolution: nn.Conv2d, how: str | None,
                 name: str) -> None:
    """Adapt a weight that differs from a convolution in the number of channels alone."""
    weight, wanted = weights.get(key), convolution.weight.shape
    if not isinstance(weight, Tensor) or weight.ndim != 4 or weight.shape == wanted or (
            (weight.shape[0], *weight.shape[2:]) != (wanted[0], *wanted[2:])):
        return
    known, channels = weight.shape[1], wanted[1]
    if how is None:
        raise ValueError(
            f'the checkpoint was trained with images of {known} channels (backbone.{name}.weight), '
            f'and model.backbone.in_channels is {channels}: to fine-tune it, set '
            f'model.new_channels to one of {", ".join(ADAPTATIONS)}; to predict, use the config '
            'that it was trained with')
    weights[key] = adapt_first_convolution(weight, channels, how)
    print_log(f'model.backbone.{name}.weight: weights for {known} channels are adapted to '
              f'{channels} by new_channels={how!r}, {_story(known, channels, how)}',
              logger='current', level=logging.WARNING)


def _story(known: int, channels: int, how: str) -> str:
    """Tell which channel gets which weights; weights for 3 channels are those of R, G, B."""
    names = 'RGB' if known == 3 else [str(k) for k in range(known)]
    if how == 'average':
        return f'each the mean of {", ".join(names)}, times {known}/{channels}'
    first = [f'{k}: {names[k % known]}' for k in range(min(channels, 12))]
    if how == 'repeat':
        return f'channels {", ".join(first)}{", ..." if channels > 12 else ""}, times ' \
               f'{known}/{channels}'
    return (f'channels {", ".join(first[:known])}; the further {channels - known} are 0 '
            '(LoadChannels gives color files in the order R, G, B)')


def check_normalization(preprocessor: Any, channels: int) -> None:
    """Compare the lengths of ``mean`` and ``std`` with the channels of the images.

    Args:
        preprocessor: config of the data preprocessor, or another value, which is not checked.
        channels: ``in_channels`` of the backbone.

    Raises:
        ValueError: they differ; the text names the fix.
    """
    if not isinstance(preprocessor, dict):
        return
    kind = str(getattr(preprocessor.get('type'), '__name__', preprocessor.get('type')))
    for name in ('mean', 'std'):
        values = preprocessor.get(name)
        if not isinstance(values, Sequence) or len(values) in (1, channels):
            continue
        raise ValueError(
            f'model.data_preprocessor.{name} has {len(values)} values, but '
            f'model.backbone.in_channels is {channels}: give {channels} values, or set '
            f'model.backbone.in_channels={len(values)}')
    mean = preprocessor.get('mean')
    if isinstance(mean, Sequence) and len(mean) not in (1, 3) and (
            kind.split('.')[-1] == 'DetDataPreprocessor'):
        raise ValueError(
            f'model.data_preprocessor.mean has {len(mean)} values, and DetDataPreprocessor takes '
            "1 or 3: set model.data_preprocessor.type='mmpanseg.ChannelDataPreprocessor'")


def check_inputs(channels: int, preprocessor: nn.Module, args: tuple) -> None:
    """Compare the images of a batch with the model, as a hook before its data preprocessor.

    Args:
        channels: ``in_channels`` of the backbone.
        preprocessor: the data preprocessor.
        args: its arguments, the batch first.

    Raises:
        ValueError: an image has other channels; the text names it and the fix.
    """
    data = args[0] if args and isinstance(args[0], dict) else {}
    images, samples = data.get('inputs'), data.get('data_samples')
    if not isinstance(images, (list, tuple, Tensor)):
        return
    for number, image in enumerate(images):
        if isinstance(image, Tensor) and image.ndim == 3 and len(image) != channels:
            path = samples[number].get('img_path') if samples else None
            raise ValueError(
                f'{path or "an image"} has {len(image)} channels and the model {channels} '
                f'(model.backbone.in_channels): give images of {channels} channels, select some '
                'with mmpanseg.LoadChannels(channels=(...)), or set '
                f'model.backbone.in_channels={len(image)} with mean and std of that length')

"""Parameters and FLOPs of a model by part.

One FLOP is one multiply-add, as fvcore counts and as papers print. Counted are convolutions, matrix
products (linear layers, both products of attention, embeddings times mask features) and
interpolation: four for each value that deformable attention, ``grid_sample`` or bilinear resizing
reads. Norms, activations and sums are not.

Shapes are (height, width).
"""
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import mmpanseg.models.layers.deformable_sampling  # noqa: F401  defines the operator
from mmpanseg.registry import MODELS


class _RealRanges(TorchFunctionMode):
    """``torch.linspace`` stays on the CPU: backbones read rates of stochastic depth from it."""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (),
                           kwargs: dict | None = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs.setdefault('device', 'cpu')
        return func(*args, **kwargs)


def build_on_meta(model: ConfigDict | dict) -> nn.Module:
    """Build a model on the meta device, in evaluation mode.

    Args:
        model: ``model`` of a config; pre-trained weights that it names are not loaded.
    """
    with torch.device('meta'), _RealRanges():
        # a few layers of mmcv make their parameters on the CPU whatever the default device is
        return MODELS.build(model).eval().to('meta')


# COCO images have a longer side of 640 or 500; nearly all are 4:3 or 3:2, and three in four are
# landscapes. Size -> share of images, rounded.
COCO_SIZES = {
    (480, 640): 0.29,
    (427, 640): 0.36,
    (640, 480): 0.12,
    (640, 427): 0.12,
    (375, 500): 0.06,
    (640, 640): 0.03,
    (360, 640): 0.02,
}


def resized(size: tuple[int, int], short: int = 800, long: int = 1333) -> tuple[int, int]:
    """Size with a shorter side of ``short``, unless the longer one would exceed ``long``."""
    scale = min(short / min(size), long / max(size))
    return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)


def coco_test_sizes() -> dict[tuple[int, int], float]:
    """Sizes that a network sees in tests on COCO, with their shares."""
    shares: dict[tuple[int, int], float] = defaultdict(float)
    for size, share in COCO_SIZES.items():
        shares[resized(size)] += share
    return dict(shares)


_aten = torch.ops.aten


def _four_per_point(value: Tensor, x: Tensor, *args: Any, **kwargs: Any) -> int:
    """Deformable attention: four corners with a head's channels for each point."""
    return 4 * x.numel() * value.shape[-1]


def _four_per_value(*args: Any, out_val: Tensor, **kwargs: Any) -> int:
    """Bilinear interpolation: four corners for each value of the output."""
    return 4 * out_val.numel()


def _halved(formula: Callable[..., int]) -> Callable[..., int]:
    """PyTorch's formulas count a multiply-add as two."""
    return lambda *args, **kwargs: formula(*args, **kwargs) // 2


# operator -> multiply-adds of a call
FORMULAS = {operator: _halved(formula) for operator, formula in flop_registry.items()} | {
    torch.ops.mmpanseg.deformable_sampling: _four_per_point,
    # gradients of the values, of the points and of their weights
    torch.ops.mmpanseg.deformable_sampling_backward:
        lambda grad, *args, **kwargs: 3 * _four_per_point(*args),
    _aten.grid_sampler_2d: _four_per_value,
    _aten.upsample_bilinear2d: _four_per_value,
}


class _FlopCounter(TorchDispatchMode):
    """Adds up FLOPs by the part that is at work: the one whose module was called last.

    Attributes:
        active: titles of the parts whose modules are being called, the innermost last.
        counts: FLOPs by title; 'head' for what no part does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.active: list[str] = ['head']
        self.counts: Counter = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (),
                           kwargs: dict | None = None) -> Any:
        out = func(*args, **kwargs or {})
        formula = FORMULAS.get(func._overloadpacket)
        if formula is not None:
            self.counts[self.active[-1]] += formula(*args, **kwargs or {}, out_val=out)
        return out

    @contextmanager
    def watch(self, module: nn.Module, title: str) -> Iterator[None]:
        """Count what a module or any inside it does for a part."""
        with ExitStack() as hooks:
            for part in module.modules():
                for handle in (
                        part.register_forward_pre_hook(lambda *args: self.active.append(title)),
                        part.register_forward_hook(
                            lambda *args: self.active.pop() and None, always_call=True)):
                    hooks.callback(handle.remove)
            yield


def _to_masks(model: nn.Module, images: Tensor) -> None:
    """What a segmentor does for images up to dense masks of all queries."""
    cls_logits, masks = model.panoptic_head.predict(model.extract_feat(images))
    queries = torch.arange(cls_logits.shape[1], device=images.device)
    for image in range(len(images)):
        masks.dense(-1, image, queries)


def part_names(model: nn.Module) -> dict[str, str]:
    """Parts of a segmentor: title -> name of the module, in the order of the computation.

    Any part of the head whose name ends with "decoder" is one of its own; the rest is the head.
    """
    names = {'backbone': 'backbone'}
    names.update({name.replace('_', ' '): f'panoptic_head.{name}'
                  for name, _ in model.panoptic_head.named_children() if name.endswith('decoder')})
    return names


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Parameters by part, in the order of the computation, with a ``total``.

    The constants of frozen batch norms are not counted, as in papers.
    """
    names = part_names(model)
    counts = dict.fromkeys([*names, 'head', 'total'], 0)
    seen = set()
    for prefix, module in model.named_modules():
        part = next((title for title, name in names.items()
                     if f'{prefix}.'.startswith(f'{name}.')), 'head')
        for parameter in module.parameters(recurse=False):
            frozen_norm = isinstance(module, _BatchNorm) and not parameter.requires_grad
            if not frozen_norm and parameter not in seen:
                seen.add(parameter)
                counts[part] += parameter.numel()
                counts['total'] += parameter.numel()
    return counts


def count_flops(model: nn.Module, size: tuple[int, int], in_channels: int = 3) -> dict[str, int]:
    """FLOPs of one image by part, in the order of the computation, with a ``total``.

    Args:
        model: a segmentor from :func:`build_on_meta`.
        size: (height, width) of the image; it is padded as the model's data preprocessor pads.
        in_channels: of the image.

    Raises:
        ValueError: the model is not on the meta device, where counting needs neither memory nor
            time and does not depend on a machine's kernels.
    """
    device = next(model.parameters()).device
    if device.type != 'meta':
        raise ValueError(f'FLOPs are counted on the meta device, the model is on {device}: build '
                         'it with mmpanseg.analysis.build_on_meta(config.model)')
    images = model.pad(torch.empty(1, in_channels, *size, device=device))
    counter = _FlopCounter()
    names = part_names(model)
    # the mathematical form of attention consists of products that have formulas
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), ExitStack() as stack:
        for title, name in names.items():
            stack.enter_context(counter.watch(model.get_submodule(name), title))
        stack.enter_context(counter)
        _to_masks(model, images)
    counts = {title: counter.counts[title] for title in [*names, 'head']}
    return counts | dict(total=sum(counts.values()))


def mean_flops(model: nn.Module, sizes: Mapping[tuple[int, int], float],
               in_channels: int = 3) -> dict[str, float]:
    """FLOPs by part, the mean over sizes with weights; see :func:`count_flops`."""
    mean: dict[str, float] = defaultdict(float)
    whole = sum(sizes.values())
    for size, weight in sizes.items():
        for part, count in count_flops(model, size, in_channels).items():
            mean[part] += count * weight / whole
    return dict(mean)

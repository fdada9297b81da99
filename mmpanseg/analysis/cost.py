"""Parameters and FLOPs of a model by part.

One FLOP is one multiply-add, as in fvcore and in papers. Convolutions, matrix products (linear
layers, both products of attention, embeddings times mask features) and interpolation are counted:
four FLOPs for each value that deformable attention, ``grid_sample`` or bilinear resizing samples.
Norms, activations and sums are not counted.

Sizes are (height, width) in pixels.
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
from torch.utils.flop_counter import FlopCounterMode, flop_registry

import mmpanseg.models.layers.deformable_sampling  # noqa: F401  defines the operator
from mmpanseg.models.segmentors import MaskTransformer
from mmpanseg.registry import MODELS


class _RealRanges(TorchFunctionMode):
    """Keep ``torch.linspace`` on the CPU: backbones read rates of stochastic depth from it."""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (),
                           kwargs: dict | None = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs.setdefault('device', 'cpu')
        return func(*args, **kwargs)


def build_on_meta(model: ConfigDict | dict) -> nn.Module:
    """Build a model on the meta device, in evaluation mode.

    Args:
        model: ``model`` of a config; its pre-trained weights are not loaded.
    """
    with torch.device('meta'), _RealRanges():
        # a few layers of mmcv create their parameters on the CPU, whatever the default device is
        return MODELS.build(model).eval().to('meta')


# Rounded share of COCO's images by size. The longer side is 640 or 500; nearly all images are 4:3
# or 3:2, and three in four are landscapes.
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
    """Compute the size with a shorter side of ``short``, or a longer one of at most ``long``."""
    scale = min(short / min(size), long / max(size))
    return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)


def coco_test_sizes() -> dict[tuple[int, int], float]:
    """Return the input sizes of a network in tests on COCO, with their shares."""
    shares: dict[tuple[int, int], float] = defaultdict(float)
    for size, share in COCO_SIZES.items():
        shares[resized(size)] += share
    return dict(shares)


_aten = torch.ops.aten


def _four_per_point(value: Tensor, x: Tensor, *args: Any, **kwargs: Any) -> int:
    """Count deformable sampling: four corners with the channels of a head for each point."""
    return 4 * x.numel() * value.shape[-1]


def _four_per_value(*args: Any, out_val: Tensor, **kwargs: Any) -> int:
    """Count bilinear interpolation: four corners for each value of the output."""
    return 4 * out_val.numel()


def _halved(formula: Callable[..., int]) -> Callable[..., int]:
    """Halve a formula of torch, which counts a multiply-add as two."""
    return lambda *args, **kwargs: formula(*args, **kwargs) // 2


def _raw(formula: Callable[..., int]) -> Callable[..., int]:
    """Mark a formula as a function of tensors: torch calls other ones with shapes."""
    formula._get_raw = True  # type: ignore[attr-defined]  # read by torch's counter
    return formula


# multiply-adds of one call of each operator
FORMULAS = {operator: _raw(_halved(formula)) for operator, formula in flop_registry.items()} | {
    torch.ops.mmpanseg.deformable_sampling: _raw(_four_per_point),
    # gradients of the values, of the points and of their weights
    torch.ops.mmpanseg.deformable_sampling_backward:
        _raw(lambda grad, *args, **kwargs: 3 * _four_per_point(*args)),
    _aten.grid_sampler_2d: _raw(_four_per_value),
    _aten.upsample_bilinear2d: _raw(_four_per_value),
}


class _PartCounts:
    """FLOPs by the innermost part whose module is being called.

    (The counter's own sums by module include parts that are called inside other parts.)

    Args:
        counter: the running counter.

    Attributes:
        counts: FLOPs by title of the part; 'head' for operators outside of all parts.
    """

    def __init__(self, counter: FlopCounterMode) -> None:
        self.counter = counter
        self.counts: Counter = Counter()
        self._active, self._total = ['head'], 0

    def add_new(self) -> None:
        """Add the FLOPs since the last call to the innermost part."""
        total = self.counter.get_total_flops()
        self.counts[self._active[-1]] += total - self._total
        self._total = total

    def _enter(self, title: str) -> None:
        self.add_new()
        self._active.append(title)

    def _leave(self) -> None:
        self.add_new()
        self._active.pop()

    @contextmanager
    def watch(self, module: nn.Module, title: str) -> Iterator[None]:
        """Count the calls of a module and of all modules in it as those of a part."""
        with ExitStack() as hooks:
            for part in module.modules():
                for handle in (
                        part.register_forward_pre_hook(lambda *args: self._enter(title)),
                        part.register_forward_hook(
                            lambda *args: self._leave(), always_call=True)):
                    hooks.callback(handle.remove)
            yield


@contextmanager
def _frozen(model: MaskTransformer) -> Iterator[None]:
    """Disable gradients of all parameters, for which torch's counter would register hooks."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        model.requires_grad_(False)
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def _predict_masks(model: MaskTransformer, images: Tensor) -> None:
    """Run a segmentor on images up to the dense masks of all queries."""
    cls_logits, masks = model.panoptic_head.predict(model.extract_feat(images))
    queries = torch.arange(cls_logits.shape[1], device=images.device)
    for image in range(len(images)):
        masks.dense(-1, image, queries)


def part_names(model: MaskTransformer) -> dict[str, str]:
    """Return the names of modules by title of the part, in the order of the computation.

    Modules of the head whose names end with "decoder" are parts; all others belong to the head.
    """
    names = {'backbone': 'backbone'}
    names.update({name.replace('_', ' '): f'panoptic_head.{name}'
                  for name, _ in model.panoptic_head.named_children() if name.endswith('decoder')})
    return names


def count_parameters(model: MaskTransformer) -> dict[str, int]:
    """Count parameters by part, in the order of the computation, with a ``total``.

    As in papers, the constants of frozen batch norms are not counted.
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


def count_flops(model: MaskTransformer, size: tuple[int, int],
                in_channels: int = 3) -> dict[str, int]:
    """Count FLOPs of one image by part, in the order of the computation, with a ``total``.

    Args:
        model: segmentor from :func:`build_on_meta`.
        size: (height, width) of the image, before the padding of the data preprocessor.
        in_channels: number of channels of the image.

    Raises:
        ValueError: the model is not on the meta device, where counting requires neither memory nor
            computation and does not depend on the kernels of the machine.
    """
    device = next(model.parameters()).device
    if device.type != 'meta':
        raise ValueError(f'FLOPs are counted on the meta device, the model is on {device}: build '
                         'it with mmpanseg.analysis.build_on_meta(config.model)')
    images = model.pad(torch.empty(1, in_channels, *size, device=device))
    counter = FlopCounterMode(display=False, custom_mapping=FORMULAS)
    parts, names = _PartCounts(counter), part_names(model)
    # the mathematical form of attention consists of products with formulas
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), ExitStack() as stack:
        for title, name in names.items():
            stack.enter_context(parts.watch(model.get_submodule(name), title))
        stack.enter_context(_frozen(model))
        stack.enter_context(counter)
        _predict_masks(model, images)
        parts.add_new()
    counts = {title: parts.counts[title] for title in [*names, 'head']}
    return counts | dict(total=sum(counts.values()))


def mean_flops(model: MaskTransformer, sizes: Mapping[tuple[int, int], float],
               in_channels: int = 3) -> dict[str, float]:
    """Average FLOPs by part over sizes with weights, see :func:`count_flops`."""
    mean: dict[str, float] = defaultdict(float)
    whole = sum(sizes.values())
    for size, weight in sizes.items():
        for part, count in count_flops(model, size, in_channels).items():
            mean[part] += count * weight / whole
    return dict(mean)

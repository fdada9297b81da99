"""Parameters and FLOPs of a model by part.

One FLOP is one multiply-add, as fvcore counts and as papers print. Counted are convolutions, matrix
products (linear layers, both products of attention, embeddings times mask features) and
interpolation: four for each value that deformable attention, ``grid_sample`` or bilinear resizing
reads. Norms, activations and sums are not.
"""
from collections import defaultdict
from contextlib import contextmanager
from typing import Any, Iterator, Mapping

import torch
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

_aten = torch.ops.aten


def _two_per_gathered_value(weight: tuple, indices: tuple, *args: Any, **kwargs: Any) -> int:
    """``embedding_bag``: how this library samples for deformable attention, a row per corner."""
    return 2 * torch.Size(indices).numel() * weight[1]


def _eight_per_value(*args: Any, out_shape: tuple, **kwargs: Any) -> int:
    """Bilinear interpolation: four corners for each value of the output."""
    return 2 * 4 * torch.Size(out_shape).numel()


# the counter's unit is half a multiply-add
_INTERPOLATION = {
    _aten._embedding_bag: _two_per_gathered_value,
    _aten._embedding_bag_forward_only: _two_per_gathered_value,
    _aten.grid_sampler_2d: _eight_per_value,
    _aten.upsample_bilinear2d: _eight_per_value,
}


class _Inference(nn.Module):
    """What a segmentor does for an image up to its dense masks; the masks of all queries."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> None:
        cls_logits, masks = self.model.panoptic_head.predict(self.model.extract_feat(images))
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


def count_flops(model: nn.Module, size: tuple[int, int]) -> dict[str, int]:
    """FLOPs of one image by part, in the order of the computation, with a ``total``.

    Args:
        model: a segmentor from :func:`build_on_meta`.
        size: (height, width) of the image; it is padded like a batch.

    Raises:
        ValueError: the model is not on the meta device, where counting needs neither memory nor
            time and does not depend on a machine's kernels.
    """
    device = next(model.parameters()).device
    if device.type != 'meta':
        raise ValueError(f'FLOPs are counted on the meta device, the model is on {device}: build '
                         'it with mmpanseg.analysis.build_on_meta(config.model)')
    divisor = getattr(model.data_preprocessor, 'pad_size_divisor', 1)
    height, width = (-(-side // divisor) * divisor for side in size)
    mode = FlopCounterMode(display=False, custom_mapping=_INTERPOLATION)
    # the mathematical form of attention consists of products that the counter knows
    with _without_gradients(model), sdpa_kernel(SDPBackend.MATH), mode:
        _Inference(model)(torch.empty(1, 3, height, width, device=device))
    by_module = mode.get_flop_counts()
    counts = {title: sum(by_module.get(f'_Inference.model.{name}', {}).values()) // 2
              for title, name in part_names(model).items()}
    total = mode.get_total_flops() // 2
    return counts | dict(head=total - sum(counts.values()), total=total)


@contextmanager
def _without_gradients(model: nn.Module) -> Iterator[None]:
    """No parameter requires a gradient: the counter would look for its place in a graph."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.requires_grad_(False)
    try:
        with torch.no_grad():
            yield
    finally:
        for parameter in trained:
            parameter.requires_grad = True


def mean_flops(model: nn.Module, sizes: Mapping[tuple[int, int], float]) -> dict[str, float]:
    """FLOPs by part, the mean over sizes with weights; see :func:`count_flops`."""
    mean: dict[str, float] = defaultdict(float)
    whole = sum(sizes.values())
    for size, weight in sizes.items():
        for part, count in count_flops(model, size).items():
            mean[part] += count * weight / whole
    return dict(mean)

"""Predicted mask logits, stored densely or as the product of query embeddings and features.

Shapes: L predictions (decoder layers) of B images with Q queries each, C channels, h, w mask size;
P points; M rows (layer, image, query); m rows of one chunk. Points are (x, y) in [0, 1], see
``segment_map``.
"""
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmpanseg.structures.bilinear_sampling import sample_table
from mmpanseg.utils.device import chunk_rows


class MaskRows(NamedTuple):
    """Indices of M masks, ordered by image.

    Attributes:
        layer: int64 [M], index of the prediction.
        image: int64 [M], index in the batch, in ascending order.
        query: int64 [M].
        splits: number of rows of each image, as Python integers to avoid a synchronization.
    """
    layer: Tensor
    image: Tensor
    query: Tensor
    splits: Sequence[int]


# function of dense logits [m, h, w], the image and the slice of its rows; returns values [n, m]
Reduce = Callable[[Tensor, int, slice], Tensor]


class MaskLogits:
    """Mask logits of L predictions for one batch; base of the two storage forms."""

    size: tuple[int, int]
    num_queries: int

    def __len__(self) -> int:
        """Return the number of predictions L."""
        raise NotImplementedError

    def float(self) -> 'MaskLogits':
        """Convert to single precision at least, see :func:`at_least_float`."""
        raise NotImplementedError

    def of_layer(self, layer: int) -> 'MaskLogits':
        """Return one prediction of all images, which shares its memory.

        Args:
            layer: index of the prediction.
        """
        raise NotImplementedError

    def of_image(self, image: int, device: torch.device | str | None = None) -> 'MaskLogits':
        """Copy the last prediction for one image, as a batch of one.

        Args:
            image: index in the batch.
            device: device of the copy (default: the same).
        """
        raise NotImplementedError

    def sample(self, layer: int, points: Tensor) -> Tensor:
        """Sample the logits of all queries of one prediction at the points of each image.

        Args:
            layer: index of the prediction.
            points: [B, P, 2].

        Returns:
            [B, Q, P], bilinear samples of the dense logits.
        """
        raise NotImplementedError

    def sample_rows(self, rows: MaskRows,
                    choose_points: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Sample the logits of single masks, each at its own points, with gradient.

        Args:
            rows: indices of the M masks.
            choose_points: function from dense logits [m, h, w] to points [m, P, 2].

        Returns:
            logits [M, P] and points [M, P, 2].
        """
        raise NotImplementedError

    def reduce_rows(self, rows: MaskRows, reduce: Reduce, num_values: int,
                    row_elements: int) -> Tensor:
        """Compute values from all pixels of single masks, with gradient.

        Args:
            rows: indices of the M masks.
            reduce: computes the values of a chunk of masks; called again in the backward pass.
            num_values: n, number of values of each mask.
            row_elements: elements of the temporary tensors of ``reduce`` per mask; determines the
                size of the chunks.

        Returns:
            [n, M].
        """
        raise NotImplementedError

    def dense(self, layer: int, image: int, query: Tensor) -> Tensor:
        """Compute dense logits of some queries of one image.

        Args:
            layer: index of the prediction.
            image: index in the batch.
            query: int64 [m].

        Returns:
            [m, h, w].
        """
        raise NotImplementedError

    def checksums(self, image: int) -> Tensor:
        """Compute a number per query that is finite if its logits of the last prediction are.

        Args:
            image: index in the batch.

        Returns:
            [Q], NaN or infinite for a query with such logits.
        """
        raise NotImplementedError


class ProductMaskLogits(MaskLogits):
    """Mask logits stored as ``embeds @ features``.

    Bilinear resizing and sampling are linear and commute with the product. No tensor of size
    Q x h x w is saved for the backward pass.

    Args:
        embeds: query embeddings [L, B, Q, C].
        features: per-pixel features [B, C, h, w], shared by all predictions.
    """

    def __init__(self, embeds: Tensor, features: Tensor) -> None:
        self.embeds = embeds
        self.features = features
        self.size = (features.shape[-2], features.shape[-1])
        self.num_queries = embeds.shape[2]

    def __len__(self) -> int:
        return len(self.embeds)

    @cached_property
    def _table(self) -> Tensor:
        """Features with contiguous channels, [B, h * w, C]."""
        return self.features.flatten(2).transpose(1, 2).contiguous()

    def float(self) -> 'ProductMaskLogits':
        """Convert half precision to float32."""
        return ProductMaskLogits(at_least_float(self.embeds), at_least_float(self.features))

    def of_layer(self, layer: int) -> 'ProductMaskLogits':
        return ProductMaskLogits(self.embeds[layer][None], self.features)

    def of_image(self, image: int, device: torch.device | str | None = None) -> 'ProductMaskLogits':
        return ProductMaskLogits(_copied(self.embeds[-1:, image:image + 1], device),
                                 _copied(self.features[image:image + 1], device))

    def sample(self, layer: int, points: Tensor) -> Tensor:
        features = sample_table(self._table, self.size, points)
        return self.embeds[layer] @ features.transpose(1, 2)

    def sample_rows(self, rows: MaskRows,
                    choose_points: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        embeds = self.embeds[rows.layer, rows.image, rows.query]
        return _SampleProduct.apply(embeds, self.features, rows.splits, choose_points)

    def reduce_rows(self, rows: MaskRows, reduce: Reduce, num_values: int,
                    row_elements: int) -> Tensor:
        embeds = self.embeds[rows.layer, rows.image, rows.query]
        step = chunk_rows(embeds.device, row_elements)
        return _ReduceProduct.apply(
            embeds, self.features, rows.splits, step, reduce, num_values)

    def dense(self, layer: int, image: int, query: Tensor) -> Tensor:
        product = self.embeds[layer, image, query] @ self.features[image].flatten(1)
        return product.view(-1, *self.size)

    def checksums(self, image: int) -> Tensor:
        features = self.features[image].flatten(1)
        # a product is the fastest way to read all of them
        total = (features.new_ones(1, len(features)) @ features).sum()
        return self.embeds[-1, image].abs().sum(-1) + 0 * total


class DenseMaskLogits(MaskLogits):
    """Mask logits stored densely.

    Args:
        logits: one tensor [B, Q, h, w] per prediction.
    """

    def __init__(self, logits: Sequence[Tensor]) -> None:
        self.logits = logits
        self.size = (logits[0].shape[-2], logits[0].shape[-1])
        self.num_queries = logits[0].shape[1]

    def __len__(self) -> int:
        return len(self.logits)

    def float(self) -> 'DenseMaskLogits':
        """Convert half precision to float32."""
        return DenseMaskLogits([at_least_float(x) for x in self.logits])

    def of_layer(self, layer: int) -> 'DenseMaskLogits':
        return DenseMaskLogits([self.logits[layer]])

    def of_image(self, image: int, device: torch.device | str | None = None) -> 'DenseMaskLogits':
        return DenseMaskLogits([_copied(self.logits[-1][image:image + 1], device)])

    def sample(self, layer: int, points: Tensor) -> Tensor:
        return _grid_sample(self.logits[layer], points)

    def sample_rows(self, rows: MaskRows,
                    choose_points: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        picked = self._pick(rows)
        with torch.no_grad():
            points = choose_points(picked)
        return sample_own_points(picked, points), points

    def reduce_rows(self, rows: MaskRows, reduce: Reduce, num_values: int,
                    row_elements: int) -> Tensor:
        picked = self._pick(rows)
        step = chunk_rows(picked.device, row_elements)
        return torch.cat([picked.flatten(1)[:, 0].expand(num_values, -1)[:, :0]] + [
            checkpoint(reduce, picked[part], image, part, use_reentrant=False)
            for image, part in image_chunks(rows.splits, step)], dim=1)

    def _pick(self, rows: MaskRows) -> Tensor:
        """Select the dense logits of rows, [M, h, w]."""
        if len(self) == 1:
            return self.logits[0][rows.image, rows.query]
        return torch.stack(list(self.logits))[rows.layer, rows.image, rows.query]

    def dense(self, layer: int, image: int, query: Tensor) -> Tensor:
        return self.logits[layer][image, query]

    def checksums(self, image: int) -> Tensor:
        return self.logits[-1][image].flatten(1).sum(1)


def _copied(x: Tensor, device: torch.device | str | None) -> Tensor:
    """Copy of a part of a tensor, which does not keep the whole in memory."""
    return x.to(device or x.device, copy=True)


def at_least_float(x: Tensor) -> Tensor:
    """Convert half precision to float32; other dtypes stay unchanged."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _grid_sample(planes: Tensor, points: Tensor) -> Tensor:
    """Sample planes [B, C, h, w] at points [B, P, 2]; returns [B, C, P]."""
    return F.grid_sample(planes, _grid(points), align_corners=False)[..., 0]


def _grid(points: Tensor) -> Tensor:
    """Convert points [M, P, 2] in 0..1 to a grid [M, P, 1, 2] in -1..1 for ``grid_sample``."""
    return points.mul(2).sub_(1)[:, :, None]


def sample_own_points(planes: Tensor, points: Tensor) -> Tensor:
    """Sample planes, each at its own points.

    Args:
        planes: [M, h, w].
        points: [M, P, 2].

    Returns:
        [M, P].
    """
    if not len(planes):  # grid_sample does not accept an empty batch on some devices
        return planes.flatten(1)[:, :0].new_zeros(0, points.shape[1]) + planes.sum()
    return _grid_sample(planes[:, None], points)[:, 0]


def image_chunks(splits: Sequence[int], step: int) -> Iterator[tuple[int, slice]]:
    """Split rows into chunks that do not cross images.

    Args:
        splits: number of rows of each image, see :class:`MaskRows`.
        step: largest number of rows of a chunk.

    Yields:
        index of the image and slice of the rows.
    """
    row = 0
    for image, count in enumerate(splits):
        for start in range(row, row + count, step):
            yield image, slice(start, min(start + step, row + count))
        row += count


class _SampleProduct(torch.autograd.Function):
    """Bilinear samples of ``embeds @ features``, computed densely for one chunk of rows at a time.

    Sampling is linear, so the backward pass needs no dense logits: it scatters the gradient of the
    samples to a dense plane and multiplies that with the features and with the embeddings.
    """

    @staticmethod
    def forward(ctx: Any, embeds: Tensor, features: Tensor, splits: Sequence[int],
                choose_points: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        height, width = features.shape[-2:]
        step = chunk_rows(features.device, height * width)
        planes = features.flatten(2)
        values: list[Tensor] = []
        chosen: list[Tensor] = []
        for image, part in image_chunks(splits, step):
            logits = (embeds[part] @ planes[image]).view(-1, height, width)
            chosen.append(choose_points(logits))
            values.append(sample_own_points(logits, chosen[-1]))
        if not values:
            chosen.append(choose_points(embeds.new_zeros(0, height, width)))
            values.append(chosen[-1][..., 0])
        points = torch.cat(chosen)
        ctx.save_for_backward(embeds, features, points)
        ctx.splits = splits
        ctx.mark_non_differentiable(points)
        return torch.cat(values), points

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple:
        embeds, features, points = ctx.saved_tensors
        height, width = features.shape[-2:]
        step = chunk_rows(features.device, height * width)
        grad_embeds = torch.zeros_like(embeds)
        grad_features = torch.zeros_like(features)
        planes, grad_planes = features.flatten(2), grad_features.flatten(2)
        for image, part in image_chunks(ctx.splits, step):
            dense = _scatter_points(grad[part], points[part], height, width)
            grad_embeds[part] = dense @ planes[image].T
            grad_planes[image].addmm_(embeds[part].T, dense)
        return grad_embeds, grad_features, None, None


class _ReduceProduct(torch.autograd.Function):
    """Values of the dense form of ``embeds @ features``, computed for one chunk of rows at a time.

    The backward pass computes the dense form again, chunk by chunk.
    """

    @staticmethod
    def forward(ctx: Any, embeds: Tensor, features: Tensor, splits: Sequence[int], step: int,
                reduce: Reduce, num_values: int) -> Tensor:
        ctx.save_for_backward(embeds, features)
        ctx.chunks = list(image_chunks(splits, step))
        ctx.reduce = reduce
        # in place: small results between large temporary tensors would fragment the heap
        values = embeds.new_empty(num_values, len(embeds))
        planes = features.flatten(2)
        for image, part in ctx.chunks:
            logits = (embeds[part] @ planes[image]).view(-1, *features.shape[-2:])
            values[:, part] = reduce(logits, image, part)
        return values

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        embeds, features = ctx.saved_tensors
        grad_embeds = torch.zeros_like(embeds)
        grad_features = torch.zeros_like(features)
        planes, grad_planes = features.flatten(2), grad_features.flatten(2)
        for image, part in ctx.chunks:
            logits = (embeds[part] @ planes[image]).view(-1, *features.shape[-2:])
            with torch.enable_grad():
                values = ctx.reduce(logits.requires_grad_(), image, part)
            dense = torch.autograd.grad(values, logits, grad[:, part])[0].flatten(1)
            grad_embeds[part] = dense @ planes[image].T
            grad_planes[image].addmm_(embeds[part].T, dense)
        return grad_embeds, grad_features, None, None, None, None


def _scatter_points(grad: Tensor, points: Tensor, height: int, width: int) -> Tensor:
    """Adjoint of :func:`sample_own_points`: values [m, P] at points [m, P, 2] to [m, h * w]."""
    # the gradient depends on the shape of the input only
    shape = grad.new_zeros(()).expand(len(grad), 1, height, width)
    dense, _ = torch.ops.aten.grid_sampler_2d_backward(
        grad[:, None, :, None].contiguous(), shape, _grid(points), 0, 0, False, [True, False])
    return dense.flatten(1)

"""Multi-scale deformable sampling in plain PyTorch, with an analytic backward pass.

Shapes: B images, S = sum of h * w tokens over L levels, H heads of D channels, Q queries with P
points per level and head. The points of one query are one row of M = H * L * P numbers.

The features of an image are a table of S * H rows. One head of one query is a bag of 4 * L * P
weighted rows, four corners for each point, so that `embedding_bag` is the whole gather. The weight
of a corner is the hat function max(0, 1 - |distance|). It is zero outside the level if the first
corner is clamped to [0, size - 2], so that neither padding nor validity masks are needed.
"""
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmpanseg.utils.cached_constants import cache_constants

Shapes = tuple[tuple[int, int], ...]

# Points that are computed at once. On a CPU the temporaries should fit the cache.
_CHUNK_ON_CPU, _CHUNK_ELSEWHERE = 1 << 17, 1 << 19
# Distance of the second corner on an axis with a single pixel, so that its weight is 0.
_FAR = 1e30
# Multi-scale training alternates between many shapes; the constants of each are small.
_RECENT_SHAPES = 64


def multi_scale_deformable_sampling(value: Tensor, spatial_shapes: Sequence[tuple[int, int]],
                                    locations: Tensor, weights: Tensor) -> Tensor:
    """Sample feature maps bilinearly at weighted points and sum per query and head.

    Source: Zhu et al., Deformable DETR (arXiv 2010.04159), Equation 3.

    Args:
        value: features of all levels, one after the other [B, S, H, D].
        spatial_shapes: (h, w) of each level as Python integers.
        locations: points (x, y) in 0..1 between the outer edges of a level
            (`align_corners=False`) [B, Q, H, L, P, 2]; outside, zeros are sampled.
        weights: weights of the points [B, Q, H, L, P].

    Returns:
        sums [B, Q, H * D] in the type of `value`, computed in float32 or wider.

    Raises:
        ValueError: shapes contradict each other.
    """
    shapes = tuple((int(h), int(w)) for h, w in spatial_shapes)
    layout = (value.shape[2], len(shapes))
    if (weights.dim() != 5 or weights.shape[2:4] != layout
            or locations.shape != (*weights.shape, 2)):
        raise ValueError(
            f'weights must be [B, Q, H, L, P] and locations [B, Q, H, L, P, 2] with (H, L) = '
            f'{layout}, got {tuple(weights.shape)} and {tuple(locations.shape)}')
    x, y = (locations * level_sizes(shapes, locations.device)[:, None] - 0.5).unbind(-1)
    return sample_at_pixels(value, shapes, x.flatten(2), y.flatten(2), weights.flatten(2))


def sample_at_pixels(value: Tensor, shapes: Shapes, x: Tensor, y: Tensor,
                     weights: Tensor) -> Tensor:
    """Compute `multi_scale_deformable_sampling` at pixel coordinates; integers are pixel centers.

    Args:
        value: features of all levels, one after the other [B, S, H, D].
        shapes: (h, w) of each level.
        x: columns in pixels of the level [B, Q, M], ordered by head, then level, then point.
        y: rows in pixels of the level [B, Q, M].
        weights: weights of the points [B, Q, M].

    Returns:
        sums [B, Q, H * D] in the type of `value`, computed in float32 or wider.

    Raises:
        ValueError: shapes contradict each other.
    """
    batch, tokens, heads, _ = value.shape
    if sum(h * w for h, w in shapes) != tokens or min(map(min, shapes)) < 1:
        raise ValueError(f'value has {tokens} tokens, but the levels have the sizes {shapes}')
    if (x.shape != weights.shape or y.shape != weights.shape or weights.dim() != 3
            or weights.shape[0] != batch or weights.shape[2] % (heads * len(shapes)) != 0):
        raise ValueError(
            f'x, y and weights must be [{batch}, Q, M] with M a multiple of {heads} heads * '
            f'{len(shapes)} levels, got {tuple(x.shape)}, {tuple(y.shape)}, '
            f'{tuple(weights.shape)}')
    dtype = torch.promote_types(value.dtype, torch.float32)
    return _sample(value.contiguous(), *(t.to(dtype).contiguous() for t in (x, y, weights)),
                   [side for shape in shapes for side in shape])


@cache_constants(_RECENT_SHAPES)
def level_sizes(shapes: Shapes, device: torch.device) -> Tensor:
    """Return (w, h) of each level, float32 [L, 2], cached on the device."""
    return torch.tensor([(w, h) for h, w in shapes], dtype=torch.float32, device=device)


class _Grid(NamedTuple):
    """Constants of the M points of a query, int32 [M] unless stated.

    Attributes:
        x_max, y_max: largest column and row of a first corner.
        x_step, y_step: distance from the first corner to the second one, floating-point [M].
        pitch: number of table rows from one image row to the next.
        start: table row of the first pixel of the level.
        corners: offset in table rows from the first corner to each corner [4, L * P].
    """

    x_max: Tensor
    y_max: Tensor
    x_step: Tensor
    y_step: Tensor
    pitch: Tensor
    start: Tensor
    corners: Tensor


@cache_constants(_RECENT_SHAPES)
def _grid(shapes: Shapes, heads: int, width: int, dtype: torch.dtype,
          device: torch.device) -> _Grid:
    num_points = width // (heads * len(shapes))
    tokens = [h * w for h, w in shapes]

    def spread(values: Sequence[float], kind: torch.dtype = torch.int32) -> Tensor:
        return torch.tensor(values, dtype=kind).repeat_interleave(num_points).repeat(heads)

    start = spread([sum(tokens[:level]) * heads for level in range(len(shapes))])
    start += torch.arange(heads, dtype=torch.int32).repeat_interleave(len(shapes) * num_points)
    corners = torch.stack([spread(shifts) for shifts in zip(*_corner_shifts(shapes, heads))])
    return _Grid(*(constant.to(device) for constant in (
        spread([max(w - 2, 0) for _, w in shapes]),
        spread([max(h - 2, 0) for h, _ in shapes]),
        spread([1. if w > 1 else _FAR for _, w in shapes], dtype),
        spread([1. if h > 1 else _FAR for h, _ in shapes], dtype),
        spread([w * heads for _, w in shapes]),
        start,
        corners[:, :len(shapes) * num_points].contiguous())))


def _corner_shifts(shapes: Shapes, heads: int) -> list[tuple[int, int, int, int]]:
    """Return offsets in table rows from the first corner to all four corners, for each level.

    The order is (y0, x0), (y0, x1), (y1, x0), (y1, x1). On an axis with a single pixel the second
    corner, whose weight is 0, coincides with the first one.
    """
    steps = [(heads * (w > 1), heads * w * (h > 1)) for h, w in shapes]
    return [(0, dx, dy, dx + dy) for dx, dy in steps]


class _Corners:
    """The four corners of the points of n queries.

    Args:
        grid: constants of the points.
        heads: number of heads H.
        x: columns in pixels [n, M].
        y: rows in pixels [n, M].

    Attributes:
        first: table rows of the first corners, int32 [n, M].
        near_x, far_x, near_y, far_y: signed distances from the first and the second corner [n, M].
        x0, x1, y0, y1: bilinear weights [n, M].
    """

    def __init__(self, grid: _Grid, heads: int, x: Tensor, y: Tensor) -> None:
        column, self.near_x = self._locate(x, grid.x_max)
        row, self.near_y = self._locate(y, grid.y_max)
        self.first = torch.addcmul(grid.start, row, grid.pitch).add_(column, alpha=heads)
        self.far_x, self.far_y = self.near_x - grid.x_step, self.near_y - grid.y_step
        self.x0, self.x1 = _hat(self.near_x), _hat(self.far_x)
        self.y0, self.y1 = _hat(self.near_y), _hat(self.far_y)
        self._shifts = grid.corners

    @staticmethod
    def _locate(position: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        # The cast rounds toward zero instead of down, which is the same after clamping at 0. It
        # precedes the clamps so that NaN and huge numbers result in a valid corner too.
        first = position.to(torch.int32).clamp_(min=0)
        first = torch.minimum(first, last, out=first)
        return first, position - first

    def products(self, weights: Tensor, out: Sequence[Tensor]) -> None:
        """Multiply the weights of points and corners.

        Args:
            weights: weights of the points [n, M].
            out: one tensor of n * M numbers for each corner, which the products are written to.
        """
        y0, y1 = self.y0 * weights, self.y1 * weights
        pairs = ((y0, self.x0), (y0, self.x1), (y1, self.x0), (y1, self.x1))
        for target, (a, b) in zip(out, pairs):
            torch.mul(a.view(target.shape), b.view(target.shape), out=target)

    def table_rows(self) -> Tensor:
        """Return table rows of all corners, one bag per query and head [n * H, 4 * L * P]."""
        bags = self.first.view(-1, 1, self._shifts.shape[1])
        return (bags + self._shifts).flatten(1)


def _hat(distance: Tensor) -> Tensor:
    return distance.abs().neg_().add_(1).clamp_(min=0)


def _hat_slope(distance: Tensor) -> Tensor:
    """Derive the hat function: 1 on [-1, 0), -1 on [0, 1); at the kinks as in `grid_sample`."""
    cell = distance.floor()
    rises = cell == -1
    return cell.eq_(0).neg_().add_(rises)


def _compute(value: Tensor, x: Tensor, y: Tensor, weights: Tensor, sides: Sequence[int]) -> Tensor:
    """Sample; arguments as for :func:`sample_at_pixels`, ``sides`` is h, w of each level."""
    batch, queries, width = x.shape
    heads, channels = value.shape[2:]
    grid = _grid(_pairs(sides), heads, width, x.dtype, x.device)
    output = value.new_empty(batch, queries, heads * channels)
    for image in range(batch):
        table = value[image].flatten(0, 1).to(x.dtype)
        for part in _chunks(x):
            corners = _Corners(grid, heads, x[image, part], y[image, part])
            bags = x.new_empty(len(corners.first) * heads, 4, width // heads)
            corners.products(weights[image, part], bags.unbind(1))
            sums = F.embedding_bag(corners.table_rows(), table, mode='sum',
                                   per_sample_weights=bags.flatten(1))
            output[image, part] = sums.view(-1, heads * channels)
    return output


def _shape(value: Tensor, x: Tensor, y: Tensor, weights: Tensor, sides: Sequence[int]) -> Tensor:
    return value.new_empty(*x.shape[:2], value.shape[2] * value.shape[3])


def _compute_backward(grad: Tensor, value: Tensor, x: Tensor, y: Tensor, weights: Tensor,
                      sides: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute the gradients of value, x, y and weights; ``grad`` is that of the output."""
    shapes = _pairs(sides)
    _, queries, width = x.shape
    heads, channels = value.shape[2:]
    grid = _grid(shapes, heads, width, x.dtype, x.device)
    grad_value, *grad_points = (torch.empty_like(t) for t in (value, x, y, weights))
    first = x.new_empty(queries, width, dtype=torch.int32)
    products = x.new_empty(4, queries, width)
    for image in range(len(x)):
        table = value[image].flatten(0, 1).to(x.dtype)
        grad_bags = grad[image].to(x.dtype).reshape(queries, heads, channels)
        for part in _chunks(x):
            scale = weights[image, part]
            corners = _Corners(grid, heads, x[image, part], y[image, part])
            first[part] = corners.first
            corners.products(scale, products[:, part].unbind())
            dots = _dots(table, corners.table_rows(), grad_bags[part].flatten(0, 1))
            dots = dots.view(-1, 4, width // heads).transpose(0, 1).contiguous()
            for target, result in zip(grad_points, _point_grads(corners, scale, dots)):
                target[image, part] = result
        grad_value[image] = _table_grad(
            first.flatten(), products.flatten(1), grad_bags.flatten(0, 1), shapes, heads,
        ).view(value.shape[1:])
    grad_x, grad_y, grad_weights = grad_points
    return grad_value, grad_x, grad_y, grad_weights


def _shapes_backward(grad: Tensor, value: Tensor, x: Tensor, y: Tensor, weights: Tensor,
                     sides: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (torch.empty_like(value), torch.empty_like(x), torch.empty_like(y),
            torch.empty_like(weights))


def _keep_inputs(ctx, inputs: tuple, output: Tensor) -> None:
    *tensors, ctx.sides = inputs
    ctx.save_for_backward(*tensors)


def _gradients(ctx, grad: Tensor) -> tuple:
    return *_sample_backward(grad, *ctx.saved_tensors, ctx.sides), None


# Registered as operators, so that a compiler does not trace the loops. torch.library.custom_op
# would import the compiler in the first call, which takes longer than the import of torch.
_POINTS = 'Tensor value, Tensor x, Tensor y, Tensor weights, SymInt[] sides'


def _register(name: str, schema: str, compute: Callable, shape: Callable) -> Callable:
    torch.library.define(name, schema, tags=torch.Tag.pt2_compliant_tag)
    torch.library.impl(name, 'default', compute)
    torch.library.register_fake(name, shape)
    return getattr(torch.ops.mmpanseg, name.partition('::')[2]).default


_sample = _register('mmpanseg::deformable_sampling', f'({_POINTS}) -> Tensor', _compute, _shape)
_sample_backward = _register(
    'mmpanseg::deformable_sampling_backward',
    f'(Tensor grad, {_POINTS}) -> (Tensor, Tensor, Tensor, Tensor)', _compute_backward,
    _shapes_backward)
torch.library.register_autograd('mmpanseg::deformable_sampling', _gradients,
                                setup_context=_keep_inputs)


def _pairs(sides: Sequence[int]) -> Shapes:
    return tuple(zip(sides[::2], sides[1::2]))


def _chunks(x: Tensor) -> Iterator[slice]:
    """Divide the queries of x [B, Q, M] into slices that are computed at once."""
    limit = _CHUNK_ON_CPU if x.device.type == 'cpu' else _CHUNK_ELSEWHERE
    step = max(1, limit // x.shape[2])
    return (slice(start, start + step) for start in range(0, x.shape[1], step))


def _point_grads(corners: _Corners, weights: Tensor,
                 dots: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients of x, y and weights.

    Args:
        corners: corners of the points of n queries.
        weights: weights of the points [n, M].
        dots: inner products of the features at each corner with the gradient [4, n * H, L * P].

    Returns:
        three gradients [n, M].
    """
    d00, d01, d10, d11 = dots.view(4, *weights.shape)
    top = (corners.x0 * d00).addcmul_(corners.x1, d01)
    bottom = (corners.x0 * d10).addcmul_(corners.x1, d11)
    left = (corners.y0 * d00).addcmul_(corners.y1, d10)
    right = (corners.y0 * d01).addcmul_(corners.y1, d11)
    grad_x = _hat_slope(corners.near_x).mul_(left).addcmul_(_hat_slope(corners.far_x), right)
    grad_y = _hat_slope(corners.near_y).mul_(top).addcmul_(_hat_slope(corners.far_y), bottom)
    grad_weights = (corners.y0 * top).addcmul_(corners.y1, bottom)
    return grad_x.mul_(weights), grad_y.mul_(weights), grad_weights


def _dots(table: Tensor, rows: Tensor, bags: Tensor) -> Tensor:
    """Compute inner products of table rows with one vector per bag.

    Args:
        table: features [T, D].
        rows: table rows of each bag, int32 [n, K].
        bags: one vector per bag [n, D].

    Returns:
        inner products [n, K].
    """
    # a sparse matrix permits at most as many entries per row as columns: too few for tiny images
    if table.device.type != 'cpu' or rows.shape[1] > len(table):
        return torch.einsum('nkd,nd->nk', F.embedding(rows, table), bags)
    # The pattern of a sparse matrix selects among all products, so that nothing is gathered.
    count, size = rows.shape
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='Sparse CSR tensor support')
        pattern = torch.sparse_csr_tensor(
            torch.arange(0, count * size + 1, size, dtype=torch.int32), rows.flatten(),
            table.new_zeros(count * size), (count, len(table)), check_invariants=False)
    return torch.sparse.sampled_addmm(pattern, bags, table.t(), beta=0.).values().view(count, size)


def _table_grad(first: Tensor, products: Tensor, bags: Tensor, shapes: Shapes,
                heads: int) -> Tensor:
    """Compute the gradient of the table: the transposed gather, as another gather.

    Args:
        first: table rows of the first corners of all N = Q * M points, int32 [N].
        products: weights of the four corners [4, N].
        bags: gradient of the output [Q * H, D].
        shapes: (h, w) of each level.
        heads: number of heads H.

    Returns:
        gradient [S * H, D].
    """
    # Sorted by their first corner, the points of one table row are a bag themselves. The other
    # corners are sums over the same bags with other weights, shifted by a constant.
    ordered, order = first.sort()
    rows = sum(h * w for h, w in shapes) * heads
    bounds = torch.searchsorted(
        ordered, torch.arange(rows + 1, dtype=torch.int32, device=first.device), out_int32=True)
    bag_size = products.shape[1] // max(1, len(bags))
    bag = order.to(torch.int32).div_(max(1, bag_size), rounding_mode='floor')
    grad = bags.new_zeros(rows, bags.shape[1])
    for shifts, weights in zip(zip(*_corner_shifts(shapes, heads)), products):
        sums = F.embedding_bag(bag, bags, bounds, mode='sum', include_last_offset=True,
                               per_sample_weights=weights[order])
        start = 0
        for shift, (h, w) in zip(shifts, shapes):
            end = start + h * w * heads
            grad[start + shift:end] += sums[start:end - shift]
            start = end
    return grad

"""Generated segment maps and points against definitions with dense masks."""
import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmpanseg.structures import SegmentMap
from mmpanseg.structures.mask_logits import DenseMaskLogits, MaskRows, ProductMaskLogits
from mmpanseg.structures.segment_map import SegmentBatch

from ..fuzz import cases

SIDES = st.integers(1, 9)
COORDINATES = st.one_of(st.sampled_from([0.0, 0.5, 1.0]),
                        st.floats(-0.25, 1.25, width=32, allow_subnormal=False))


@st.composite
def segment_maps(draw, form: str, height: int = 0, width: int = 0):
    """Segments in one of the three forms, and their dense masks [N, H, W]."""
    height, width = height or draw(SIDES), width or draw(SIDES)
    count = draw(st.integers(0, 5))
    labels = torch.tensor(draw(st.lists(st.integers(0, 200), min_size=count, max_size=count)),
                          dtype=torch.long)
    if form == 'map':
        dtype = draw(st.sampled_from([np.int16, np.int32, np.int64]))
        index = draw(arrays(dtype, (height, width), elements=st.integers(-1, count - 1)))
        dense = torch.from_numpy(np.stack([index == i for i in range(count)])
                                 if count else np.zeros((0, height, width), bool))
        return SegmentMap(labels, map=torch.from_numpy(index)), dense
    masks = draw(arrays(bool, (count, height, width)))
    dense = torch.from_numpy(masks)
    if form == 'masks':
        return SegmentMap(labels, masks=dense), dense
    bits = torch.from_numpy(np.packbits(masks, axis=-1))
    return SegmentMap.from_bits(labels, bits, width), dense


@st.composite
def batches(draw):
    """Segments of one to three images, padded dense masks of each, and the padded size."""
    form = draw(st.sampled_from(['map', 'masks', 'bits']))
    images = draw(st.lists(segment_maps(form), min_size=1, max_size=3))
    size = tuple(max(dense.shape[axis] for _, dense in images) + draw(st.integers(0, 3))
                 for axis in (1, 2))
    padded = [F.pad(dense, (0, size[1] - dense.shape[2], 0, size[0] - dense.shape[1]))
              for _, dense in images]
    return [segments for segments, _ in images], padded, size


def points_of(draw, *shape: int) -> torch.Tensor:
    return torch.from_numpy(draw(arrays(np.float32, (*shape, 2), elements=COORDINATES)))


def bilinear(plane: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Samples [P] of one plane [h, w]: every pixel times the product of two hat functions."""
    height, width = plane.shape
    x = points[:, 0].double() * width - 0.5
    y = points[:, 1].double() * height - 0.5
    across = (1 - (x[:, None] - torch.arange(width)).abs()).clamp(min=0)
    down = (1 - (y[:, None] - torch.arange(height)).abs()).clamp(min=0)
    return torch.einsum('ph,hw,pw->p', down, plane.double(), across)


def assert_samples(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=0)


@cases(60)
@given(st.sampled_from(['map', 'masks', 'bits']).flatmap(segment_maps))
def test_one_image(case):
    segments, dense = case
    assert segments.shape == dense.shape[1:] and len(segments) == len(dense)
    assert torch.equal(segments.dense(), dense)
    assert torch.equal(segments.areas(), dense.flatten(1).sum(1))
    kept = segments.drop_empty()
    some = dense.flatten(1).any(1)
    assert torch.equal(kept.dense(), dense[some])
    assert torch.equal(kept.labels, segments.labels[some])


@cases(60)
@given(st.data())
def test_samples_of_a_batch(data):
    segments, padded, size = data.draw(batches())
    batch = SegmentBatch(segments, size)
    points = points_of(data.draw, len(segments), data.draw(st.integers(1, 6)))
    every = batch.sample_all(points)
    for image, masks in enumerate(padded):
        for segment, mask in enumerate(masks):
            assert_samples(every[image, :, segment], bilinear(mask, points[image]))
        assert not every[image, :, len(masks):].any()
        some = torch.randperm(len(masks), generator=torch.Generator().manual_seed(0))
        some = some[:data.draw(st.integers(0, len(masks)))]
        torch.testing.assert_close(batch.sample_some(points[image], image, some),
                                   every[image, :, some].T, atol=2e-6, rtol=0)
        assert torch.equal(batch.masks(image, some), masks[some])
    pairs = [(image, segment) for image, masks in enumerate(padded)
             for segment in range(len(masks))]
    chosen = data.draw(st.lists(st.sampled_from(pairs), max_size=4)) if pairs else []
    own = points_of(data.draw, len(chosen), 3)
    found = batch.sample_pairs(own, *torch.tensor(chosen, dtype=torch.long).view(-1, 2).T)
    for row, (image, segment) in enumerate(chosen):
        assert_samples(found[row], bilinear(padded[image][segment], own[row]))


@cases(40)
@given(st.data())
def test_grids_of_a_batch(data):
    segments, padded, size = data.draw(batches())
    batch = SegmentBatch(segments, size)
    grid = tuple(data.draw(st.integers(1, side)) for side in size)
    stride = data.draw(st.integers(1, 4))
    pooled, strided = batch.max_pool(grid), batch.strided_pixels(stride)
    assert pooled.shape == (len(segments), batch.max_count, grid[0] * grid[1])
    for image, masks in enumerate(padded):
        assert torch.equal(strided[image].masks_at(), masks[:, ::stride, ::stride].flatten(1))
        assert not pooled[image, len(masks):].any()
        for segment, mask in enumerate(masks):
            # cells of adaptive pooling, from its definition
            expected = [mask[size[0] * i // grid[0]:-(-size[0] * (i + 1) // grid[0]),
                             size[1] * j // grid[1]:-(-size[1] * (j + 1) // grid[1])].any()
                        for i in range(grid[0]) for j in range(grid[1])]
            assert pooled[image, segment].tolist() == expected


@cases(40)
@given(st.data())
def test_samples_of_mask_logits(data):
    """A product of embeddings and features, against its dense form and against the definition."""
    layers, images, queries, channels = (data.draw(st.integers(1, 3)) for _ in range(4))
    size = data.draw(SIDES), data.draw(SIDES)
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2 ** 31)))
    embeds = torch.randn(layers, images, queries, channels, generator=generator)
    features = torch.randn(images, channels, *size, generator=generator)
    planes = torch.einsum('lbqc,bchw->lbqhw', embeds, features)
    forms = ProductMaskLogits(embeds, features), DenseMaskLogits(list(planes))
    points = points_of(data.draw, images, 4)
    rows = sorted(data.draw(st.lists(st.tuples(
        st.integers(0, images - 1), st.integers(0, layers - 1), st.integers(0, queries - 1)),
        max_size=5)))
    image, layer, query = torch.tensor(rows, dtype=torch.long).view(-1, 3).T
    splits = [sum(row[0] == i for row in rows) for i in range(images)]
    own = points_of(data.draw, len(rows), 3)
    for logits in forms:
        for index in range(layers):
            found = logits.sample(index, points)
            for b in range(images):
                for q in range(queries):
                    assert_samples(found[b, q], bilinear(planes[index, b, q], points[b]))
        left = list(own)

        def choose(dense, left=left):
            return torch.stack([left.pop(0) for _ in dense]) if len(dense) else own[:0]

        found, used = logits.sample_rows(MaskRows(layer, image, query, splits), choose)
        assert torch.equal(used, own) and not left
        for row, (b, index, q) in enumerate(rows):
            assert_samples(found[row], bilinear(planes[index, b, q], own[row]))

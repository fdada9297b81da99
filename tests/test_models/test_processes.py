"""Two processes with one image each against one process with both: losses and gradients."""
import math

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.registry import init_default_scope
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mmpanseg.structures import SegmentMap

from ..processes import run_ranks
from .systems import build

pytestmark = pytest.mark.slow

# whole masks and all pixels: nothing is sampled at random
WHOLE = dict(match_on='masks', loss_on='masks', class_weight=[1.0, 2.0, 0.5, 3.0])
SYNCED = dict(WHOLE, sync_cls_avg_factor=True)
CLEAN = dict(num_groups=1, budget=None, mask_noise='none', label_noise=0.0)
KMAX = dict(num_pixels=1 << 20, num_semantic_pixels=0)
MODES = {
    'mask2former': dict(criterion=SYNCED),
    'mask2former, published': dict(criterion=WHOLE),
    'mp_former': dict(criterion=SYNCED, piloting=CLEAN),
    'mp_former, published': dict(criterion=WHOLE, piloting=CLEAN),
    'panoptic_segformer': dict(),
    'panoptic_segformer, by image': dict(criterion=dict(balance='image')),
    'panoptic_segformer, no balance': dict(criterion=dict(balance='none')),
    'kmax_deeplab': dict(criterion=KMAX),
    'kmax_deeplab, matched by layer': dict(criterion=dict(KMAX, share_matching=False))}
# Segments of the first and of the second image; the second process may have none. A mean of less
# than one segment, of any kind, would be raised to one.
COUNTS = ((4, 7), (4, 0), (5, 5))
CASES = [(mode, counts) for mode in MODES for counts in (
    COUNTS if mode.startswith('mp_former') else COUNTS[:2])]


def selected(published: bool) -> list[tuple[str, tuple[int, int]]]:
    return [case for case in CASES if case[0].endswith('published') == published]


SIZE = (64, 64)


def model_of(mode: str) -> nn.Module:
    """In double precision and with fixed norms, which no process computes from its own images."""
    name = mode.split(',')[0]
    return build(name, parts=dict(panoptic_head=MODES[mode])).double().eval()


def sample(count: int, image: int) -> DetDataSample:
    """Vertical stripes, and void at the right; other classes in each image."""
    columns = torch.arange(SIZE[1]) // 8
    index = torch.where(columns < count, columns, -1).int().expand(SIZE).contiguous()
    return DetDataSample(
        metainfo=dict(img_shape=SIZE, ori_shape=SIZE, batch_input_shape=SIZE, pad_shape=SIZE),
        gt_segments=SegmentMap(torch.arange(image, image + count) % 4, map=index))


def images() -> Tensor:
    return torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(3)).double()


def step(model: nn.Module, counts: tuple[int, int], chosen: list[int]) -> dict[str, Tensor]:
    """Losses by name."""
    return model(images()[chosen], [sample(counts[k], k) for k in chosen], mode='loss')


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()
            if parameter.grad is not None}


def one_rank(rank: int) -> dict:
    """Losses and gradients of its image in every case."""
    init_default_scope('mmdet')
    results = {}
    for mode in MODES:
        model = DistributedDataParallel(model_of(mode))
        for counts in [counts for name, counts in CASES if name == mode]:
            losses = step(model, counts, [rank])
            grads = gradients(model.module, sum(losses.values()))
            results[mode, counts] = (
                {name: loss.item() for name, loss in losses.items()}, grads)
    return results


@pytest.fixture(scope='module')
def ranks(tmp_path_factory) -> list[dict]:
    return run_ranks(one_rank, 2, tmp_path_factory.mktemp('ranks'), timeout=300)


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys() and found
    scale = max(x.abs().max().item() for x in expected.values())
    assert scale > 1e-3
    for name in expected:
        torch.testing.assert_close(
            found[name], expected[name], rtol=1e-12, atol=1e-12 * scale, msg=name)


def assert_means(ranks: list[dict], case: tuple, expected: dict[str, Tensor]) -> None:
    for name, loss in expected.items():
        mean = sum(rank[case][0][name] for rank in ranks) / 2
        assert mean == pytest.approx(loss.item(), rel=1e-12, abs=1e-14), name


@pytest.mark.parametrize('case', selected(published=False), ids=str)
def test_processes_compute_the_step_of_one_process(ranks, case):
    mode, counts = case
    model = model_of(mode)
    losses = step(model, counts, [0, 1])
    if mode == 'mp_former' and counts[0] != counts[1]:
        # as published, piloted queries attend to those that pad the images of a process to the
        # same number; the learnable queries attend to none of both
        own = {name: loss for name, loss in losses.items() if not name.endswith('_mp')}
        assert len(own) == len(losses) / 2
        return assert_means(ranks, case, own)
    assert_means(ranks, case, losses)
    expected = gradients(model, sum(losses.values()))
    for rank in ranks:
        assert_same(rank[case][1], expected)


@pytest.mark.parametrize('case', selected(published=True), ids=str)
def test_published_class_loss_is_a_mean_over_each_process(ranks, case):
    """Mask losses are those of one process, class losses the average over both images alone."""
    mode, counts = case
    model = model_of(mode)
    both = step(model, counts, [0, 1])
    alone = [step(model, counts, [k]) for k in (0, 1)]
    expected = {name: sum(losses[name] for losses in alone) / 2 if 'loss_cls' in name else loss
                for name, loss in both.items()}
    if mode.startswith('mp_former') and counts[0] != counts[1]:  # see above
        return assert_means(ranks, case, {
            name: loss for name, loss in expected.items() if not name.endswith('_mp')})
    assert_means(ranks, case, expected)
    of_one = gradients(model, sum(both.values()))
    both = step(model, counts, [0, 1])
    grads = gradients(model, sum(
        loss if 'loss_cls' not in name else sum(losses[name] for losses in alone) / 2
        for name, loss in both.items()))
    for rank in ranks:
        assert_same(rank[case][1], grads)
    # another step than that of one process with both images
    difference = torch.cat([(grads[name] - of_one[name]).flatten() for name in grads]).norm()
    share = difference / torch.cat([grad.flatten() for grad in of_one.values()]).norm()
    assert 0.001 < share < 0.5


@pytest.mark.parametrize('case', [case for case in CASES if 0 in case[1]], ids=str)
def test_a_process_without_ground_truth(ranks, case):
    for losses, grads in (rank[case] for rank in ranks):
        assert all(math.isfinite(loss) for loss in losses.values())
        assert all(grad.isfinite().all() for grad in grads.values())
    assert_same(ranks[1][case][1], ranks[0][case][1])

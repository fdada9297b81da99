"""Images of any size: of one pixel or row, smaller than a stride or than the tiles' overlap."""
import pytest
import torch
from mmdet.structures import DetDataSample

from ..systems import SYSTEMS, batch, build

SINGLE = [(1, 1), (1, 70), (90, 2), (31, 33)]


@pytest.mark.parametrize('name', [*SYSTEMS, 'kmax_deeplab_convnext', 'mask2former_swin'])
@pytest.mark.parametrize('mode', [{}, dict(mode='tile', tile=(40, 40), overlap=12)])
def test_results_are_of_the_size_of_the_image(name, mode):
    model = build(name, **mode).eval()
    for size in SINGLE:
        sample, = model.test_step(batch(size))
        panoptic = sample.pred_panoptic_seg
        assert panoptic.sem_seg.shape == sample.pred_sem_seg.sem_seg.shape == (1, *size)
        assert sample.pred_instances.masks.shape[1:] == size
        assert sample.pred_instances.scores.isfinite().all()
        assert set(panoptic.sem_seg.unique().tolist()) - {4} == {
            info['id'] for info in panoptic.segments_info}


@pytest.mark.parametrize('name', SYSTEMS)
def test_whole_images_are_padded_as_by_hand(name):
    model = build(name).eval()
    options = dict(kmax_deeplab=lambda side: -(-(side - 1) // 32) * 32 + 1,
                   panoptic_segformer=lambda side: side)
    system = next(key for key in [*options, ''] if name.startswith(key))
    rule = options.get(system, lambda side: -(-side // 32) * 32)
    for size in SINGLE:
        data = batch(size)
        found, = model.test_step(data)
        preprocessor = model.data_preprocessor
        image = (data['inputs'][0].flip(0).float() - preprocessor.mean) / preprocessor.std
        padded = torch.zeros(1, 3, *map(rule, size))
        padded[0, :, :size[0], :size[1]] = image
        expected, = model.predict(padded, [DetDataSample(metainfo=dict(
            batch_input_shape=tuple(padded.shape[2:]), img_shape=size, ori_shape=size))])
        assert torch.equal(found.pred_panoptic_seg.sem_seg, expected.pred_panoptic_seg.sem_seg)
        assert torch.equal(found.pred_instances.scores, expected.pred_instances.scores)


@pytest.mark.parametrize('name', SYSTEMS)
@pytest.mark.parametrize('sizes', [
    [(1, 1), (40, 70)], [(31, 33), (64, 20)], [(2, 200), (3, 3)]])
def test_training_on_a_batch_of_different_sizes(name, sizes):
    model = build(name).train()
    losses = model(**model.data_preprocessor(batch(*sizes), True), mode='loss')
    total = sum(losses.values())
    total.backward()
    assert total.isfinite() and total > 0
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)


def test_spatial_reduction_needs_a_window():
    model = build('panoptic_segformer_pvt').eval()
    sample, = model.test_step(batch((29, 29)))
    assert sample.pred_panoptic_seg.sem_seg.shape == (1, 29, 29)
    with pytest.raises(ValueError, match='28 x 60 pixels .* at least 29: .*pad_size_divisor=32'):
        model.test_step(batch((28, 60)))
    padded = build('panoptic_segformer_pvt', parts=dict(
        data_preprocessor=dict(pad_size_divisor=32))).eval()
    sample, = padded.test_step(batch((1, 2)))
    assert sample.pred_panoptic_seg.sem_seg.shape == (1, 1, 2)

"""Ceilings on peak memory, each measured in a process of its own."""
import subprocess
import sys
import textwrap

import pytest
import torch

from mmpanseg.models.transformer_decoders.kmeans_decoder import sum_of_clusters


def run(script: str) -> list[int]:
    """The numbers that a script prints on its last line."""
    done = subprocess.run([sys.executable, '-c', textwrap.dedent(script)], capture_output=True,
                          text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return [int(word) for word in done.stdout.strip().splitlines()[-1].split()]


TRAINING_STEP = '''
    import resource
    import torch
    import mmpanseg
    from mmdet.structures import DetDataSample
    from mmpanseg.registry import MODELS
    from mmpanseg.structures import SegmentMap

    torch.manual_seed(0)
    head = MODELS.build(dict(
        type='mmpanseg.Mask2FormerHead', in_channels=[256, 512, 1024, 2048],
        num_things_classes=80, num_stuff_classes=53))
    features = [torch.randn(1, 256 << i, 256 >> i, 256 >> i, requires_grad=True)
                for i in range(4)]
    # a grid of squares, one segment each
    side = 1 + int(({segments} - 1) ** 0.5)
    cell = torch.arange(1024) * side // 1024
    index = cell[:, None] * side + cell[None]
    index[index >= {segments}] = -1
    sample = DetDataSample(
        metainfo=dict(batch_input_shape=(1024, 1024)),
        gt_segments=SegmentMap(torch.randint(133, ({segments},)), map=index.int()))
    sum(head.loss(features, [sample]).values()).backward()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
'''


@pytest.mark.slow
def test_training_memory_does_not_grow_with_segments():
    # the head alone: a backbone would only bring the two figures closer together
    few, = run(TRAINING_STEP.format(segments=20))
    many, = run(TRAINING_STEP.format(segments=500))
    assert many <= 1.2 * few, f'{many / 1024:.0f} MB against {few / 1024:.0f} MB'


INFERENCE = '''
    import resource
    import torch
    import mmpanseg
    from mmpanseg.models.fusion_heads.pixelwise import PixelwiseFusionHead
    from mmpanseg.structures.mask_logits import ProductMaskLogits

    torch.manual_seed(0)
    head = PixelwiseFusionHead(80, 53, object_mask_thr=0.3, iou_thr=0.02)
    embeds = torch.randn(1, 1, 100, 256)
    features = torch.nn.functional.interpolate(torch.randn(1, 256, 9, 12), (208, 256)) / 4
    cls_logits = torch.randn(1, 100, 134)
    cls_logits[0, :15, :15] += 12 * torch.eye(15)
    meta = dict(batch_input_shape=(832, 1024), img_shape=(800, 1000), ori_shape=(4000, 5000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = head.predict(cls_logits, ProductMaskLogits(embeds, features), [meta])
    found = found[0]['pred_panoptic_seg'].sem_seg[0]
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    # the naive way: all pixels of all kept masks
    scores, labels = cls_logits[0].softmax(-1).max(-1)
    kept = ((labels < 133) & (scores > 0.3)).nonzero()[:, 0]
    assert len(kept) >= 15
    masks = torch.einsum('qc,chw->qhw', embeds[0, 0, kept], features[0])[None]
    masks = torch.nn.functional.interpolate(masks, (832, 1024), mode='bilinear')
    masks = torch.nn.functional.interpolate(masks[..., :800, :1000], (4000, 5000), mode='bilinear')
    masks = masks[0].sigmoid_()
    winner = (scores[kept, None, None] * masks).argmax(0)
    naive = torch.full((4000, 5000), 133, dtype=torch.int32)
    things = 0
    for i, label in enumerate(labels[kept].tolist()):
        won, own = winner == i, masks[i] >= 0.5
        if (won & own).any() and won.sum() / own.sum() >= 0.02:
            things += label < 80
            naive[won & own] = label + 1000 * things * (label < 80)
    print(after - before, (naive != found).sum().item(), len(naive.unique()))
'''


@pytest.mark.slow
def test_inference_of_a_large_image_stays_below_two_gigabytes():
    kilobytes, different, segments = run(INFERENCE)
    assert kilobytes < 2 << 20
    assert different == 0
    assert segments > 5


SEMANTIC_AND_INSTANCES = '''
    import resource
    import torch
    import mmpanseg
    from mmpanseg.models.fusion_heads import PixelwiseFusionHead
    from mmpanseg.models.inference.test_cfg import OutputOptions
    from mmpanseg.structures.mask_logits import ProductMaskLogits

    torch.manual_seed(0)
    head = PixelwiseFusionHead(37, 28)
    embeds = torch.randn(1, 1, 100, 32)
    features = torch.nn.functional.interpolate(torch.randn(1, 32, 9, 12), (192, 288)) / 4
    cls_logits = torch.randn(1, 100, 66)
    meta = dict(batch_input_shape=(768, 1152), img_shape=(768, 1152), ori_shape=(2000, 3000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    head.predict(cls_logits, ProductMaskLogits(embeds, features), [meta], outputs=OutputOptions(
        panoptic_on=False, instance_on=True, semantic_on=True, mask_format='rle'))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
'''


@pytest.mark.slow
def test_scores_and_masks_never_exist_at_full_size():
    # the score maps alone would be 65 x 2000 x 3000 floats, 1.5 gigabytes
    kilobytes, = run(SEMANTIC_AND_INSTANCES)
    assert kilobytes < 400 << 10


KMAX_LOSSES = '''
    import resource
    import torch
    import mmpanseg
    from mmpanseg.models.losses import KMaXCriterion
    from mmpanseg.models.losses.kmax_criterion import KMaXPrediction
    from mmpanseg.structures.segment_map import SegmentBatch, SegmentMap

    torch.manual_seed(0)
    cell = torch.arange(321) * 50 // 321
    index = cell[:, None] * 50 + cell[None]
    index[index >= {segments}] = -1
    maps = [SegmentMap(torch.randint(20, ({segments},)), map=index.int()) for _ in range(2)]
    segments = SegmentBatch(maps, (321, 321))
    predictions = [KMaXPrediction(
        torch.randn(2, 16, 21).requires_grad_(), torch.randn(2, 16, size, size).requires_grad_(),
        torch.nn.functional.normalize(torch.randn(2, 8, size, size), dim=1).requires_grad_())
        for size in (21, 41, 81)]
    criterion = KMaXCriterion(20, num_pixels=500, num_semantic_pixels=500)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    losses = criterion(predictions, torch.randn(2, 21, 81, 81).requires_grad_(), segments)
    sum(losses.values()).backward()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
'''


@pytest.mark.slow
def test_kmax_losses_keep_no_dense_targets():
    # dense masks of 2500 segments: 2500 x 81 x 81 numbers of an image, 131 megabytes for both
    few, = run(KMAX_LOSSES.format(segments=10))
    many, = run(KMAX_LOSSES.format(segments=2500))
    assert many - few < 100 << 10, f'{(many - few) / 1024:.0f} MB'


def test_clusters_are_kept_as_numbers():
    """What a k-means layer saves for the backward pass of its cluster sums: one number a pixel."""
    values = torch.randn(2, 8, 300, requires_grad=True)
    logits = torch.randn(2, 40, 300, requires_grad=True)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        sums = sum_of_clusters(values, logits)
    assert sum(x.numel() for x in saved) <= 2 * 300
    one_hot = torch.nn.functional.one_hot(logits.argmax(1), 40).float()
    expected = values @ one_hot
    torch.testing.assert_close(sums, expected)
    weight = torch.randn_like(sums)
    for ours, theirs in zip(*(torch.autograd.grad((x * weight).sum(), [values])
                              for x in (sums, expected))):
        torch.testing.assert_close(ours, theirs)


SEGFORMER_LOSSES = '''
    import resource
    import torch
    import mmpanseg
    from mmpanseg.models.losses import PanopticSegFormerCriterion
    from mmpanseg.models.losses.panoptic_segformer_targets import read_targets
    from mmpanseg.models.losses.panoptic_segformer_criterion import MaskStagePrediction
    from mmpanseg.structures.attention_masks import AttentionMasks
    from mmpanseg.structures.segment_map import SegmentMap

    torch.manual_seed(0)
    count, images = 200, 6
    cell = torch.arange(320) * 15 // 320
    index = cell[:, None] * 15 + cell[None]
    index[index >= count] = -1
    # half of the segments are things; of the stuff ones there are few classes
    labels = torch.arange(count) % 2 * (1 + torch.arange(count) % 5)
    meta = dict(img_shape=(320, 320), batch_input_shape=(320, 320))
    targets = read_targets([SegmentMap(labels, map=index.int())] * images, [meta] * images, 1,
                           'box')

    def masks(batch, queries):
        return AttentionMasks(
            torch.randn(batch, 1, queries, 4).requires_grad_(), torch.randn(batch, 1, 6400, 4),
            lambda logits, sizes: logits.sigmoid().mean(1).unflatten(1, sizes[0]), ((80, 80), ))

    criterion = PanopticSegFormerCriterion(1, 6)
    some = [MaskStagePrediction([masks(1, 4)], 0, torch.randn(4, 1), torch.rand(4, 4))
            for _ in range(images)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    weight = torch.ones(images)
    losses = criterion.mask_stage(some, targets, weight)
    losses.update(criterion.stuff_stage([masks(images, 6)], torch.randn(1, images, 6), targets,
                                        weight))
    sum(losses.values()).backward()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
'''


@pytest.mark.slow
def test_segformer_losses_make_the_masks_of_one_image_at_a_time():
    # those of all segments and images at stride 2: 6 x 200 x 160 x 160 numbers, 123 megabytes
    kilobytes, = run(SEGFORMER_LOSSES)
    assert kilobytes < 90 << 10, f'{kilobytes / 1024:.0f} MB'

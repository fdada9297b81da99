"""Ceilings on peak memory, each measured in a process of its own."""
import subprocess
import sys
import textwrap

import pytest


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
    head = PixelwiseFusionHead(80, 53, score_thr=0.3, overlap_thr=0.02)
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
    from mmpanseg.models.fusion_heads import Outputs, PixelwiseFusionHead
    from mmpanseg.structures.mask_logits import ProductMaskLogits

    torch.manual_seed(0)
    head = PixelwiseFusionHead(37, 28)
    embeds = torch.randn(1, 1, 100, 32)
    features = torch.nn.functional.interpolate(torch.randn(1, 32, 9, 12), (192, 288)) / 4
    cls_logits = torch.randn(1, 100, 66)
    meta = dict(batch_input_shape=(768, 1152), img_shape=(768, 1152), ori_shape=(2000, 3000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    head.predict(cls_logits, ProductMaskLogits(embeds, features), [meta], outputs=Outputs(
        panoptic_on=False, instance_on=True, semantic_on=True, mask_format='rle'))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
'''


@pytest.mark.slow
def test_scores_and_masks_never_exist_at_full_size():
    # the score maps alone would be 65 x 2000 x 3000 floats, 1.5 gigabytes
    kilobytes, = run(SEMANTIC_AND_INSTANCES)
    assert kilobytes < 400 << 10

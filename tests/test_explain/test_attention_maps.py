"""Attention maps of segments: the right query, the right place, and a picture of them."""
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmpanseg.datasets.scenes.generator import write_scenes
from mmpanseg.explain.attention_maps import segment_attention
from mmpanseg.explain.panoptic_segformer import decoder_of_row, head_logits
from mmpanseg.registry import MODELS
from mmpanseg.structures.attention_masks import AttentionMasks

from ..test_models.systems import batch, build


def masks(queries, sizes=((4, 6), (2, 3))):
    tokens = sum(height * width for height, width in sizes)
    return AttentionMasks(torch.randn(2, 8, queries, 4), torch.randn(2, 8, tokens, 4),
                          lambda logits, _: logits[:, 0, :24].view(-1, 4, 6), sizes)


def test_rows_go_on_in_the_next_decoder():
    things, stuff = masks(5), masks(3)
    assert decoder_of_row([things, stuff], 4) == (0, 4)
    assert decoder_of_row([things, stuff], 5) == (1, 0)
    with pytest.raises(IndexError):
        decoder_of_row([things, stuff], 8)


def test_levels_are_averaged_at_the_finest_size():
    some = masks(5)
    logits = torch.einsum('hd,hsd->hs', some.query[1, :, 2], some.key[1])
    fine = logits[:, :24].view(8, 4, 6)
    coarse = torch.nn.functional.interpolate(
        logits[:, 24:].view(1, 8, 2, 3), (4, 6), mode='bilinear')[0]
    torch.testing.assert_close(head_logits(some, 1, 2), (fine + coarse) / 2)


def test_segments_of_a_model(repo_root, tmp_path):
    write_scenes(str(tmp_path), 'val', 1, (48, 64), 0)
    init_default_scope('mmdet')
    cfg = Config.fromfile(repo_root / (
        'configs/panoptic_segformer/panoptic_segformer_r18_1xb4-scratch-demo_scenes-panoptic.py'))
    cfg.test_dataloader.dataset.data_root = str(tmp_path)
    cfg.model.panoptic_fusion_head.update(t_cnf=0, t_keep=0)
    torch.manual_seed(1)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.eval()
    for decoder in (model.panoptic_head.mask_decoder, model.panoptic_head.stuff_mask_decoder):
        torch.nn.init.constant_(decoder.tail.mask_generator.fuse.bias, 0.5)
    data = next(iter(Runner.build_dataloader(cfg.test_dataloader)))
    (sample, segments), = segment_attention(model, data)
    assert segments
    panoptic = model.test_step(data)[0].pred_panoptic_seg
    assert [segment.info for segment in segments] == panoptic.metainfo['segments_info']
    ids = panoptic.sem_seg[0].numpy()
    for segment in segments:
        np.testing.assert_array_equal(segment.inside, ids == segment.info['id'])
        assert segment.heads.shape == (8, *segment.mask.shape)
        # a mask and the pixels that it got agree in size of the grid and in place
        assert (segment.mask > 0.5).any()


def test_other_heads():
    with pytest.raises(
            ValueError, match='Mask2FormerHead has no attention maps: .*PanopticSegFormerHead'):
        segment_attention(build('mask2former').eval(), batch((64, 96)))

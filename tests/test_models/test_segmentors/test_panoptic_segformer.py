"""Panoptic SegFormer from backbone features to results against the published ones."""
import numpy as np
import pytest
import torch

from mmpanseg.models.fusion_heads import MaskWiseFusionHead
from mmpanseg.models.inference.test_cfg import OutputOptions

from ..test_heads.test_panoptic_segformer import build_head, published_state


@pytest.fixture(scope='module')
def published(golden):
    return torch.load(golden / 'panoptic_segformer/head_forward.pth', weights_only=True)


@pytest.fixture(scope='module')
def results(published):
    """Panoptic map and instances with the options of the released code."""
    head = build_head(published['config']).eval()
    head.load_state_dict(published_state(published))
    fusion = MaskWiseFusionHead(
        80, 53, t_keep=(0.6, 0.8), extra_pixels=1, score_activation='sigmoid',
        mask_activation='none', resize_once=True)
    case = published['single_image']
    shape = tuple(case['image_shape'])
    metainfo = dict(img_shape=shape, batch_input_shape=shape, ori_shape=tuple(case['ori_shape']))
    with torch.no_grad():
        cls_logits, masks = head.predict(case['backbone_features'])
        return fusion.predict(cls_logits, masks, [metainfo], outputs=OutputOptions(
            instance_on=True, max_per_image=published['config']['max_per_img']))[0]


def test_panoptic_map(published, results):
    case = published['single_image']
    info = results['pred_panoptic_seg'].metainfo['segments_info']
    kept = torch.tensor(case['kept_in_order'])
    labels = case['labels_all_contiguous_stuff_from_80'][kept]
    assert [segment['label'] for segment in info] == labels.tolist()
    torch.testing.assert_close(torch.tensor([segment['score'] for segment in info]),
                               case['confidence'][kept], atol=1e-4, rtol=1e-4)
    ours = results['pred_panoptic_seg'].sem_seg[0].long()
    category, instance = case['result_panoptic_hw2'].unbind(-1)
    theirs = category * 1000 + instance
    pairs, counts = torch.stack([ours, theirs]).flatten(1).unique(dim=1, return_counts=True)
    # a few pixels are within rounding of 0.5
    large = counts > case['pixels_within_1e4_of_half']
    assert counts[~large].sum() <= case['pixels_within_1e4_of_half']
    first, second = pairs[:, large]
    assert len(first.unique()) == len(second.unique()) == len(first) == len(kept) + 1
    assert second[first == 133] == 0  # void


def test_instances(published, results):
    case, instances = published['single_image'], results['pred_instances']
    # ours are sorted by class probability, theirs by confidence
    instances = instances[instances.scores.argsort(descending=True)]
    assert torch.equal(instances.labels, case['result_labels'])
    torch.testing.assert_close(
        instances.scores, case['result_bbox_xyxy_score'][:, 4], atol=1e-4, rtol=1e-4)
    shape = tuple(case['result_segm_shape'])
    masks = np.unpackbits(case['result_segm_packed'].numpy())[:np.prod(shape)].reshape(shape)
    differ = instances.masks.numpy() != masks.astype(bool)
    assert differ.sum() <= case['pixels_within_1e4_of_half']

"""Panoptic SegFormer's head against the published one (CVPR version)."""
from types import SimpleNamespace

import pytest
import torch
from mmdet.models.layers import inverse_sigmoid
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy

from mmpanseg.checkpoints import convert_panoptic_segformer
from mmpanseg.models.heads.panoptic_segformer import PanopticSegFormerHead
from mmpanseg.models.segmentors import MaskTransformer

CLOSE = dict(atol=1e-4, rtol=1e-4)


@pytest.fixture(scope='module')
def data(golden):
    return torch.load(golden / 'panoptic_segformer/head_forward.pth', weights_only=True)


def build_head(config: dict, **options) -> PanopticSegFormerHead:
    """Head of the fixtures' small model; its mask decoders' feed-forward width is 4 C."""
    width, heads = config['embed_dims'], config['num_heads']
    encoder = dict(num_heads=heads, feedforward_channels=config['feedforward_channels'],
                   num_points=config['num_points'])
    mask = dict(num_heads=heads, feedforward_channels=4 * width)
    return PanopticSegFormerHead(**dict(dict(
        in_channels=config['backbone_channels'], channels=width,
        num_things_classes=config['num_things_classes'],
        num_stuff_classes=config['num_stuff_classes'], num_queries=config['num_query'],
        max_per_image=config['max_per_img'],
        pixel_decoder=dict(
            type='mmpanseg.DeformableTokenEncoder', num_layers=config['encoder_layers'],
            norm_cfg=dict(type='GN', num_groups=config['neck_group_norm_groups']), **encoder),
        location_decoder=dict(num_layers=config['location_decoder_layers'], **encoder),
        mask_decoder=dict(num_layers=config['thing_mask_layers'], classify=True, locate=True,
                          **mask),
        stuff_mask_decoder=dict(num_layers=config['stuff_mask_layers'], self_attention=True,
                                query_pos_mode='accumulate', **mask)), **options))


def published_state(data: dict) -> dict:
    state = {f'neck.{key}': value for key, value in data['neck_state_dict'].items()}
    state.update({f'bbox_head.{key}': value for key, value in data['head_state_dict'].items()})
    return {key.removeprefix('panoptic_head.'): value
            for key, value in convert_panoptic_segformer(state).items()}


@pytest.fixture(scope='module')
def head(data):
    head = build_head(data['config']).eval()
    head.load_state_dict(published_state(data))
    return head


def metainfos(case):
    if 'batch_input_shape' not in case:
        return None
    return [dict(img_shape=shape, batch_input_shape=case['batch_input_shape'])
            for shape in case['image_shapes']]


@pytest.mark.parametrize('name', ['single_image', 'padded_batch'])
@torch.no_grad()
def test_every_stage_matches_published(data, head, name):
    case = data[name]
    features = case['backbone_features']
    for ours, theirs in zip(head.pixel_decoder.neck(features), case['neck_outputs'],
                            strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)
    tokens, located = head.locate(features, metainfos(case))
    levels = head.pixel_decoder.level_embed
    codes = torch.cat([
        position.flatten(2).transpose(1, 2) + level
        for position, level in zip(case['level_pos_encodings'], levels, strict=True)], 1)
    torch.testing.assert_close(tokens.memory_pos, codes, **CLOSE)
    torch.testing.assert_close(tokens.valid_ratios, case['valid_ratios'])
    if tokens.padding_mask is None:
        assert not case['memory_padding_mask'].any()
    else:
        assert torch.equal(tokens.padding_mask, case['memory_padding_mask'])
    torch.testing.assert_close(tokens.memory, case['encoder_memory'], **CLOSE)
    torch.testing.assert_close(located.queries, case['decoder_hidden_states'], **CLOSE)
    torch.testing.assert_close(located.references[0], case['init_reference'], **CLOSE)
    for ours, theirs in zip(located.references[1:], case['inter_references'][:-1], strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)
    torch.testing.assert_close(inverse_sigmoid(located.references[-1]),
                               case['last_reference_unactivated'], **CLOSE)
    decoder = head.location_decoder
    torch.testing.assert_close(
        decoder.classify(located.queries), case['all_cls_scores'], **CLOSE)
    torch.testing.assert_close(decoder.locate(located), case['all_bbox_preds'], **CLOSE)


@torch.no_grad()
def test_selection_matches_published(data, head):
    case = data['single_image']
    rows = head(case['backbone_features'])
    count = data['config']['max_per_img']
    assert torch.equal(rows.queries[0, :count], case['selected_query_index'])
    scores, labels = rows.cls_logits[0].sigmoid().max(-1)
    assert torch.equal(labels, case['labels_all_contiguous_stuff_from_80'])
    height, width = case['image_shape']
    boxes = bbox_cxcywh_to_xyxy(rows.locations[0]) * torch.tensor([width, height] * 2)
    boxes[:, 0::2] = boxes[:, 0::2].clamp(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clamp(0, height)
    expected = case['selected_boxes_xyxy_score']
    torch.testing.assert_close(
        boxes / torch.tensor(case['scale_factor']), expected[:, :4], **CLOSE)
    torch.testing.assert_close(scores[:count], expected[:, 4], **CLOSE)
    torch.testing.assert_close(scores[count:], case['stuff_scores'], **CLOSE)
    torch.testing.assert_close(rows.masks.logits[0][0], case['low_res_masks'], **CLOSE)


@torch.no_grad()
def test_mask_decoders_match_published(data, head):
    case = data['single_image']
    expected = case['mask_decoder']
    tokens, _ = head.locate(case['backbone_features'])
    tokens = tokens.first_levels(3)
    things = head.mask_decoder(expected['thing_input_query'], None, tokens)
    for name, decoded in (('thing', things), ('stuff', head.decode_stuff(tokens))):
        masks = [m.masks(0).flatten(1) for m in decoded.masks]
        theirs = [*expected[f'{name}_layer_masks'], expected[f'{name}_final_mask']]
        for mask, their in zip(masks, theirs, strict=True):
            torch.testing.assert_close(mask, their[0, ..., 0], **CLOSE)
        for query, their in zip(decoded.queries, expected[f'{name}_layer_queries'], strict=True):
            torch.testing.assert_close(query, their, **CLOSE)


@torch.no_grad()
def test_padded_batch_matches_published(data, head):
    case = data['padded_batch']
    rows = head(case['backbone_features'], metainfos(case))
    count = data['config']['max_per_img']
    scores, labels = rows.cls_logits.sigmoid().max(-1)
    masks = rows.masks.logits[0].flatten(2)
    for image in range(2):
        assert torch.equal(rows.queries[image, :count], case['selected_query_index'][image])
        assert torch.equal(labels[image, :count], case['selected_labels'][image])
        torch.testing.assert_close(
            scores[image, :count], case['selected_boxes_xyxy_score'][image][:, 4], **CLOSE)
        expected = case['mask_decoder'][image]
        torch.testing.assert_close(
            masks[image, :count], expected['thing_final_mask'][0, ..., 0], **CLOSE)
        torch.testing.assert_close(
            masks[image, count:], expected['stuff_final_mask'][0, ..., 0], **CLOSE)


@torch.no_grad()
def test_segmentor_tells_the_head_about_padding(data, head):
    case = data['padded_batch']
    model = SimpleNamespace(
        panoptic_head=head, extract_feat=lambda inputs: case['backbone_features'])
    cls_logits, masks = MaskTransformer.predict_queries(model, None, metainfos(case))
    expected = head(case['backbone_features'], metainfos(case))
    assert torch.equal(cls_logits, expected.cls_logits)
    assert torch.equal(masks.dense(-1, 1, torch.arange(73)), expected.masks.logits[0][1])
    assert not torch.equal(cls_logits, head.predict(case['backbone_features'])[0])

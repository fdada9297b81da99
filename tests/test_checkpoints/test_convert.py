"""Errors, orders of classes, constants; golden end-to-end models are in test_published.py."""
import pytest
import torch
from torch import nn

from mmpanseg.checkpoints import CheckpointError, check_fit, convert, to_mmdet
from mmpanseg.checkpoints.class_order import (PUBLISHED_THINGS, find_class_order, permute_classes,
                                              things_first)


@pytest.fixture
def cityscapes(published):
    state = published('mask2former/manifest_cityscapes_panoptic_R50.json')
    for name in ('weight', 'bias'):
        key = f'sem_seg_head.predictor.class_embed.{name}'
        state[key] = torch.arange(20.).reshape(20, *[1] * (state[key].dim() - 1))
    return state


def test_rows_of_classes_come_things_first(cityscapes):
    result = convert(cityscapes, class_order='cityscapes').state_dict
    rows = result['panoptic_head.cls_embed.bias'].tolist()
    assert rows == [*range(11, 19), *range(11), 19]
    assert result['panoptic_head.cls_embed.weight'].flatten().tolist() == rows
    same = convert(cityscapes).state_dict
    assert same['panoptic_head.cls_embed.bias'].tolist() == list(range(20))


@pytest.mark.parametrize('name, dataset', [
    ('cityscapes', 'CityscapesPanopticDataset'), ('ade20k', 'ADE20KPanopticDataset'),
    ('mapillary', 'MapillaryPanopticDataset')])
def test_orders_are_those_of_the_datasets(name, dataset):
    from mmpanseg.registry import DATASETS
    info = DATASETS.get(f'mmpanseg.{dataset}').METAINFO
    count, things = PUBLISHED_THINGS[name]
    assert (len(info['thing_classes']), len(info['stuff_classes'])) == (
        len(things), count - len(things))
    assert find_class_order(len(things), count - len(things)) == name
    assert sorted(things_first(name)) == list(range(count))


def test_no_order_for_models_of_one_kind():
    assert find_class_order(0, 19) is None and find_class_order(8, 0) is None
    assert find_class_order(80, 53) is None


def test_label_table_without_no_object_moves_too(published):
    state = published('mp_former/manifest_r50_coco_panoptic.json')
    state['sem_seg_head.predictor.label_enc.weight'] = torch.arange(133.)[:, None]
    order = list(range(132, -1, -1))
    result = convert(state, class_order=order).state_dict
    assert result['panoptic_head.label_embed.weight'].flatten().tolist() == order


@pytest.mark.parametrize('order, text', [
    ('coco', "class order 'coco' is not known"), ([0, 0, 1], 'each of 0 .. 2 once'),
    ('ade20k', 'sem_seg_head.predictor.class_embed.weight has 20 rows')])
def test_impossible_orders(cityscapes, order, text):
    with pytest.raises(CheckpointError, match=text):
        convert(cityscapes, class_order=order)
    with pytest.raises(CheckpointError):
        permute_classes(torch.zeros(5), [0, 1], 'key')


def test_unknown_checkpoints_are_refused(cityscapes):
    with pytest.raises(CheckpointError, match='not a checkpoint of a known model: 1 tensors, the '
                       'first is fc.weight; known are .*mask2former'):
        convert({'fc.weight': torch.zeros(1)})
    with pytest.raises(CheckpointError, match="source 'maskformer' is not known; known are"):
        convert(cityscapes, 'maskformer')
    cityscapes['sem_seg_head.predictor.extra.weight'] = torch.zeros(1)
    with pytest.raises(CheckpointError, match='not a checkpoint of facebookresearch/Mask2Former.*'
                       'predictor.extra.weight'):
        convert(cityscapes)


def test_names_of_released_files(cityscapes):
    expected = convert(cityscapes).state_dict.keys()
    prefix = 'sem_seg_head.predictor.'
    cityscapes[f'{prefix}static_query.weight'] = cityscapes.pop(f'{prefix}query_feat.weight')
    first_version = {key.replace('.pixel_decoder.', '.'): value
                     for key, value in cityscapes.items()}
    assert convert(cityscapes).state_dict.keys() == expected
    assert convert(first_version).state_dict.keys() == expected


def test_one_tensor_under_two_names_is_refused(cityscapes):
    prefix = 'sem_seg_head.predictor.'
    cityscapes[f'{prefix}static_query.weight'] = cityscapes[f'{prefix}query_feat.weight']
    with pytest.raises(CheckpointError, match='query_feat.weight and .*static_query.weight both'):
        convert(cityscapes)


def test_misfit_names_tensors_and_both_shapes(cityscapes):
    result = convert(cityscapes)
    model = nn.Module()
    model.backbone = nn.Module()
    model.backbone.conv1 = nn.Conv2d(3, 32, 7, bias=False)
    model.backbone.other = nn.Linear(2, 2)
    with pytest.raises(CheckpointError) as error:
        check_fit(result, model)
    text = str(error.value)
    assert '\n' not in text and len(text) < 1000
    assert ('backbone.conv1.weight (their backbone.stem.conv1.weight) is [64, 3, 7, 7], the model '
            'has [32, 3, 7, 7]') in text
    assert '2 missing in the checkpoint: backbone.other.weight [2, 2]' in text
    assert 'not in the model: ' in text and 'more' in text


def test_mmdet_needs_no_change(published):
    ours = convert(published('mask2former/manifest_coco_panoptic_R50.json')).state_dict
    again = convert(ours)
    assert again.source == 'mmdet' and again.state_dict.keys() == ours.keys()
    assert all(again.state_dict[key] is value for key, value in ours.items())


def test_names_of_mmdetection_2(published):
    ours = convert(published('mask2former/manifest_coco_panoptic_R50.json')).state_dict
    old = {key.replace('layers.0.cross_attn.', 'layers.0.attentions.0.')
           .replace('transformer_decoder.layers.0.self_attn.',
                    'transformer_decoder.layers.0.attentions.1.')
           .replace('encoder.layers.1.self_attn.', 'encoder.layers.1.attentions.0.')
           .replace('.ffn.', '.ffns.0.'): value for key, value in ours.items()}
    result = convert(old).state_dict
    assert all(result[key] is value for key, value in ours.items()) and len(result) == len(ours)


def test_mp_former_for_mmdet(published):
    unused = {}
    exported = to_mmdet(convert(published('mp_former/manifest_r50_coco_panoptic.json')).state_dict,
                        unused)
    expected = convert(published('mask2former/manifest_coco_panoptic_R50.json')).state_dict
    assert exported.keys() == expected.keys() and len(unused) == 1
    with pytest.raises(CheckpointError, match='of another model'):
        to_mmdet({'backbone.conv1.weight': torch.zeros(1)})

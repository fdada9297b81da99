"""Errors, orders of classes, constants; golden end-to-end models are in test_published.py."""
import json

import pytest
import torch
from torch import nn

from mmpanseg.checkpoints import SOURCES, CheckpointError, check_fit, convert, to_mmdet
from mmpanseg.checkpoints.class_names import CheckpointClasses, read_class_names
from mmpanseg.checkpoints.class_order import (
    find_class_order,
    permute_classes,
    published_order,
    require_known_order,
)
from mmpanseg.datasets import mapillary
from mmpanseg.registry import DATASETS


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


# the order of published models, by other sources than this library's data sets
CITYSCAPES = (
    'road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light', 'traffic sign',
    'vegetation', 'terrain', 'sky', 'person', 'rider', 'car', 'truck', 'bus', 'train',
    'motorcycle', 'bicycle')


def published_names(dataset):
    """Class names by published label."""
    if dataset == 'cityscapes':
        return CITYSCAPES
    if dataset == 'ade20k':
        from mmdet.datasets.ade20k import ADE20KSegDataset
        return ADE20KSegDataset.METAINFO['classes']
    # the JSON of the download lists classes in the order of their values
    return tuple(label.name for label in mapillary.LABELS)


@pytest.mark.parametrize('name, dataset', [
    ('cityscapes', 'CityscapesPanopticDataset'), ('ade20k', 'ADE20KPanopticDataset'),
    ('mapillary', 'MapillaryPanopticDataset')])
def test_every_row_keeps_its_name(name, dataset):
    ours = DATASETS.get(f'mmpanseg.{dataset}').METAINFO
    things, stuff = ours['thing_classes'], ours['stuff_classes']
    theirs = published_names(name)
    assert find_class_order(SOURCES['mask2former'], CheckpointClasses(), ours['classes'],
                            len(things), len(stuff)) == published_order(name)
    assert sorted(published_order(name)) == list(range(len(theirs)))
    for label, row in enumerate(published_order(name)):
        # names of ADE20K have synonyms: "road, route" is "road"
        here, there = ({word.strip() for word in text.replace(';', ',').split(',')}
                       for text in (ours['classes'][label], theirs[row]))
        assert here & there or (ours['classes'][label], theirs[row]) in SYNONYMS


# of ADE20K, here and in the list for semantic segmentation
SYNONYMS = {
    ('window', 'windowpane'), ('tub', 'bathtub'), ('rail', 'railing'),
    ('street lamp', 'streetlight'), ('tv', 'television receiver'), ('clothes', 'apparel'),
    ('trash can', 'ashcan'), ('pool', 'swimming pool'), ('falls', 'waterfall')}


def own_names(things, stuff):
    return tuple(f'own class {label}' for label in range(things + stuff))


@pytest.mark.parametrize('things, stuff', [(8, 11), (100, 50), (37, 28)])
def test_numbers_of_classes_tell_no_order(things, stuff):
    """Own data that have as many things and stuff as a data set of the table."""
    names = own_names(things, stuff)
    for source in ('mmdet', 'panoptic_segformer'):
        assert find_class_order(
            SOURCES[source], CheckpointClasses(), names, things, stuff) is None
    # an export of this library, unchanged and with classes in another order
    own = CheckpointClasses(names, own_order=True)
    assert find_class_order(SOURCES['huggingface'], own, names, things, stuff) is None
    turned = find_class_order(SOURCES['huggingface'], own, names[::-1], things, stuff)
    assert [names[row] for row in turned] == list(names[::-1])
    for source in ('mask2former', 'mp_former', 'kmax_deeplab', 'huggingface'):
        with pytest.raises(CheckpointError, match='order of its labels cannot be known.*own class '
                           '0, .*give --class-order cityscapes, ade20k, mapillary, coco .*same'):
            find_class_order(SOURCES[source], CheckpointClasses(), names, things, stuff)


def test_names_in_the_file_come_before_the_source():
    ours = DATASETS.get('mmpanseg.CityscapesPanopticDataset').METAINFO['classes']
    file = CheckpointClasses(tuple(f' {name.upper()}' for name in CITYSCAPES))
    published = published_order('cityscapes')
    assert find_class_order(SOURCES['huggingface'], file, ours, 8, 11) == published
    # other spellings of some, and other data
    file = CheckpointClasses(('street', 'pavement', *CITYSCAPES[2:]))
    assert find_class_order(SOURCES['huggingface'], file, ours, 8, 11) == published
    for names in (own_names(8, 11), CITYSCAPES[::-1][:18]):
        with pytest.raises(CheckpointError, match=f'cannot be known.*checkpoint names {names[0]}'):
            find_class_order(SOURCES['huggingface'], CheckpointClasses(names), ours, 8, 11)
    file = CheckpointClasses(CITYSCAPES)
    # semantic: the order of the train ids, as published
    assert find_class_order(SOURCES['huggingface'], file, CITYSCAPES, 0, 19) is None
    file = CheckpointClasses(ours, True)
    assert find_class_order(SOURCES['huggingface'], file, ours, 8, 11) is None


def test_no_order_for_models_of_one_kind_and_for_coco():
    for things, stuff in ((0, 19), (8, 0)):
        names = own_names(things, stuff)
        assert find_class_order(SOURCES['mask2former'], CheckpointClasses(), names, things,
                                stuff) is None
    coco = DATASETS.get('mmpanseg.CocoPanopticDataset').METAINFO['classes']
    assert find_class_order(SOURCES['mask2former'], CheckpointClasses(), coco, 80, 53) is None


def test_without_config():
    ours = DATASETS.get('mmpanseg.CityscapesPanopticDataset').METAINFO['classes']
    for source, file, rows in (
            ('mmdet', (), 20), ('mask2former', (), 134), ('mask2former', (), 81),
            ('huggingface', ours, 20), ('huggingface', own_names(8, 11), 20)):
        require_known_order(SOURCES[source], CheckpointClasses(tuple(file)), rows)
    for source, file, rows in (
            ('mask2former', (), 20), ('kmax_deeplab', (), 151), ('mp_former', (), 28),
            ('huggingface', (), 20), ('huggingface', CITYSCAPES, 20)):
        with pytest.raises(CheckpointError, match=rf'has {rows - 1} classes.*cannot be known'
                           '.*--config, or --class-order cityscapes'):
            require_known_order(SOURCES[source], CheckpointClasses(tuple(file)), rows)


@pytest.mark.parametrize('meta, names', [
    (dict(dataset_meta=dict(classes=('a', 'b'))), ('a', 'b')),
    (dict(dataset_meta=dict(CLASSES=['a'])), ('a', )), (dict(CLASSES=('c', )), ('c', )),
    (dict(), ()), (None, ()), (dict(CLASSES=None), ()), (dict(dataset_meta=[1]), ())])
def test_names_in_meta(meta, names, tmp_path):
    assert read_class_names(dict(meta=meta), tmp_path / 'x.pth') == CheckpointClasses(names)


def test_names_in_a_folder(tmp_path):
    def found(**config):
        (tmp_path / 'config.json').write_text(json.dumps(config))
        return read_class_names({}, tmp_path)

    names = {'1': 'b', '0': 'a'}
    assert found(id2label=names) == CheckpointClasses(('a', 'b'))
    assert found(id2label=names, mmpanseg=dict(classes=['a', 'b'])) == CheckpointClasses(
        ('a', 'b'), True)
    # trained on with other classes elsewhere
    assert not found(id2label=names, mmpanseg=dict(classes=['b', 'a'])).own_order
    for other in ({'0': 'LABEL_0', '1': 'LABEL_1'}, {'0': 'a', '2': 'b'}, {}, [1]):
        assert found(id2label=other) == CheckpointClasses()
    (tmp_path / 'config.json').write_text('{')
    assert read_class_names({}, tmp_path) == CheckpointClasses()


def test_label_table_without_no_object_moves_too(published):
    state = published('mp_former/manifest_r50_coco_panoptic.json')
    state['sem_seg_head.predictor.label_enc.weight'] = torch.arange(133.)[:, None]
    order = list(range(132, -1, -1))
    result = convert(state, class_order=order).state_dict
    assert result['panoptic_head.label_embed.weight'].flatten().tolist() == order


@pytest.mark.parametrize('order, text', [
    ('berlin', "class order 'berlin' is not known"), ([0, 0, 1], 'each of 0 .. 2 once'),
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

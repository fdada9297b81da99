"""What exports refuse, and the way there and back with the command lines."""
import copy
import inspect
import json

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict

from mmpanseg.checkpoints import (
    CheckpointError,
    convert,
    huggingface_config,
    read_weights,
    to_mmdet,
    write_huggingface,
)
from mmpanseg.checkpoints.export_limits import (
    HUGGINGFACE,
    MMDET,
    check_expressible,
    default_arguments,
)
from mmpanseg.checkpoints.image_processor import processor_config
from mmpanseg.engine import UsageError
from mmpanseg.registry import MODELS

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(96, 64), keep_ratio=True),
            dict(type='mmpanseg.LoadPanopticMap'), dict(type='mmpanseg.PackPanopticInputs')]
PREPROCESSOR = dict(type='DetDataPreprocessor', mean=[123.675, 116.28, 103.53],
                    std=[58.395, 57.12, 57.375], bgr_to_rgb=True, pad_size_divisor=32)


def config(things=1, stuff=2, **head):
    """A tiny Mask2Former that every target can express."""
    return ConfigDict(
        type='mmpanseg.MaskTransformer', num_things_classes=things, num_stuff_classes=stuff,
        data_preprocessor=PREPROCESSOR,
        backbone=dict(type='ResNet', depth=18, base_channels=16, norm_eval=True),
        panoptic_head=dict(
            type='mmpanseg.Mask2FormerHead', in_channels=[16, 32, 64, 128], channels=32,
            out_channels=32, num_queries=7,
            pixel_decoder=dict(type='mmpanseg.MSDeformAttnPixelDecoder', num_layers=1,
                               feedforward_channels=48),
            transformer_decoder=dict(type='mmpanseg.MaskedAttentionDecoder', num_layers=2,
                                     feedforward_channels=40), **head))


def built(model, seed=0):
    torch.manual_seed(seed)
    model = MODELS.build(copy.deepcopy(model)).eval()
    with torch.no_grad():
        for value in model.parameters():
            value += 0.1 * torch.randn_like(value)
    return model


@pytest.mark.parametrize('table', [HUGGINGFACE, MMDET])
def test_tables_have_every_setting(table):
    """A setting that a class gets later is in no table: it is to be decided on then."""
    for name, rules in table.items():
        kind = MODELS.get(name)
        known = set(default_arguments(kind))
        for base in kind.__mro__:
            if '__init__' in vars(base):
                parameters = inspect.signature(base.__init__).parameters.values()
                known |= {p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}
                if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                    break
        assert known - {'self'} == set(rules), name


HEAD, PIXEL, DECODER = (f'panoptic_head{part}' for part in (
    '', '.pixel_decoder', '.transformer_decoder'))
BOTH = {
    f'{DECODER}.cross_attention': 'plain', f'{DECODER}.order': ['self', 'cross', 'ffn'],
    f'{DECODER}.pre_norm': True, f'{HEAD}.multi_scale': 'naive', f'{HEAD}.levels': [0, 1],
    f'{HEAD}.query_feat': 'zero', f'{PIXEL}.num_encoder_levels': 2,
    f'{PIXEL}.type': 'mmpanseg.FPNPixelDecoder', f'{HEAD}.type': 'mmpanseg.KMaXDeepLabHead',
    'backbone.type': 'mmpanseg.ConvNeXt', f'{DECODER}.own': 1, f'{DECODER}.type': 'Other'}
TRANSFORMERS = {
    f'{PIXEL}.num_points': 2, f'{PIXEL}.norm_cfg': dict(type='GN', num_groups=8),
    f'{PIXEL}.num_heads': 4, 'backbone.style': 'caffe', 'backbone.deep_stem': True,
    'backbone.avg_down': True, 'backbone.dilations': (1, 1, 1, 2),
    'backbone.strides': (1, 2, 2, 1), 'backbone.in_channels': 1,
    'backbone.norm_cfg': dict(type='BN', eps=1e-3), 'backbone.out_indices': (0, 1, 2),
    'backbone.dcn': dict(type='DCNv2'), 'backbone.type': 'mmdet.ResNeXt',
    'data_preprocessor.pad_value': 7, 'data_preprocessor.type': 'BatchFixedSizePad'}


def change(model, key, value):
    *path, last = key.split('.')
    part = model
    for name in path:
        part = part[name]
    part[last] = value
    return model


@pytest.mark.parametrize('key', [*BOTH, *TRANSFORMERS])
def test_other_settings_are_refused_by_name(key):
    changed = change(config(), key, {**TRANSFORMERS, **BOTH}[key])
    with pytest.raises((CheckpointError, KeyError), match=key.replace('.', r'\.')):
        huggingface_config(changed)
    if key in BOTH:
        with pytest.raises((CheckpointError, KeyError), match=key.replace('.', r'\.')):
            to_mmdet({}, model=changed)
    else:
        check_expressible(changed, 'mmdetection', MMDET, foreign='mmdet')


SWIN = dict(type='SwinTransformer', embed_dims=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8),
            window_size=5)


@pytest.mark.parametrize('key, value', [
    ('qk_scale', 0.5), ('patch_norm', False), ('use_abs_pos_embed', True), ('patch_size', 2),
    ('strides', (2, 2, 2, 2)), ('act_cfg', dict(type='ReLU')), ('depths', (2, 2, 2)),
    ('norm_cfg', dict(type='LN', eps=1e-6)), ('out_indices', (1, 2, 3))])
def test_other_swins_are_refused_by_name(key, value):
    model = config()
    model.backbone = ConfigDict(SWIN)
    huggingface_config(model)
    model.backbone[key] = value
    with pytest.raises(CheckpointError, match=rf'cannot express model\.backbone\.{key}='):
        huggingface_config(model)


@torch.no_grad()
@pytest.mark.parametrize('what, options', [
    ('everything that concerns training', dict(
        backbone=dict(frozen_stages=4, norm_eval=False, with_cp=False, init_cfg=None,
                      norm_cfg=dict(type='SyncBN', requires_grad=False)),
        panoptic_head=dict(query_feat='unsupervised', pixel_decoder_fp32=False,
                           pixel_decoder=dict(dropout=0.2), transformer_decoder=dict(dropout=0.1),
                           criterion=dict(type='mmpanseg.MaskCriterion', no_object_weight=0.3)))),
    ('projections', dict(panoptic_head=dict(project_inputs=True))),
    ('widths', dict(panoptic_head=dict(channels=64, out_channels=48,
                                       pixel_decoder=dict(channels=32)))),
    ('no position codes', dict(panoptic_head=dict(query_pos='none'))),
    ('stem', dict(backbone=dict(stem_channels=12))),
    ('bottlenecks', dict(backbone=dict(depth=50, base_channels=4, stem_channels=8))),
    ('swin', dict(backbone=dict(_delete_=True, **SWIN, mlp_ratio=2, qkv_bias=False,
                                drop_path_rate=0.3)))])
def test_other_settings_arrive(what, options, tmp_path):
    transformers = pytest.importorskip('transformers', reason='transformers is not installed')
    model = Config(dict(model=config()))
    model.merge_from_dict(dict(model=options))
    model = model.model
    ours = built(model)
    write_huggingface(ours.state_dict(), model, tmp_path)
    theirs, report = transformers.Mask2FormerForUniversalSegmentation.from_pretrained(
        tmp_path, output_loading_info=True)
    assert not report['missing_keys'] - {
        f'model.pixel_level_module.encoder.swin.layernorm.{name}' for name in ('weight', 'bias')}
    assert not report['unexpected_keys'] and not report['mismatched_keys']
    image = torch.randn(1, 3, 160, 192)
    expected, (logits, masks) = theirs.eval()(pixel_values=image), ours(image)
    torch.testing.assert_close(logits[-1], expected.class_queries_logits, atol=1e-4, rtol=1e-4)
    found = torch.einsum('bqc,bchw->bqhw', masks.embeds[-1], masks.features)
    torch.testing.assert_close(found, expected.masks_queries_logits, atol=1e-3, rtol=1e-4)
    weight = 0.3 if 'criterion' in options.get('panoptic_head', {}) else 0.1
    assert theirs.config.no_object_weight == weight
    assert theirs.criterion.empty_weight[-1] == torch.tensor(weight)


def test_images_as_in_tests_here(tmp_path):
    """The processor that reads the folder against the model's own preparation of images."""
    module = pytest.importorskip('transformers.models.mask2former.image_processing_pil_mask2former',
                                 reason='transformers is not installed')
    content = processor_config(config(), PIPELINE)
    (tmp_path / 'preprocessor_config.json').write_text(json.dumps(content))
    processor = module.Mask2FormerImageProcessorPil.from_pretrained(tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)  # RGB
    found = processor(images=[image], return_tensors='pt')['pixel_values']
    ours = MODELS.build(PREPROCESSOR)(
        dict(inputs=[torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)]), False)['inputs']
    torch.testing.assert_close(found, ours, atol=1e-5, rtol=1e-5)
    large = np.zeros((128, 160, 3), np.uint8)
    assert processor(images=[large], return_tensors='pt')['pixel_values'].shape == (1, 3, 64, 96)
    assert processor.num_labels == 3 and processor.size_divisor == 32


@pytest.mark.parametrize('steps, expected', [
    ([dict(type='Resize', scale=(2048, 1024), keep_ratio=True)],
     dict(shortest_edge=1024, longest_edge=2048)),
    ([dict(type='mmdet.Resize', scale=(96, 64), keep_ratio=False)], dict(height=64, width=96)),
    ([dict(type='ResizeShortestEdge', scale=800, max_size=1333)],
     dict(shortest_edge=800, longest_edge=1333)), ([], None)])
def test_sizes(steps, expected):
    content = processor_config(config(), [PIPELINE[0], *steps, *PIPELINE[2:]])
    assert content.get('size') == expected and content['do_resize'] == bool(expected)


@pytest.mark.parametrize('step', [
    dict(type='Resize', scale_factor=0.5), dict(type='Pad', size_divisor=32),
    dict(type='mmpanseg.Own')])
def test_other_preparations_are_refused(step):
    with pytest.raises(CheckpointError, match=rf"pipeline: {step['type'].split('.')[-1]} with"):
        processor_config(config(), [*PIPELINE[:1], step, *PIPELINE[2:]])


def test_other_colors_are_refused():
    model = config()
    model.data_preprocessor.bgr_to_rgb = False
    with pytest.raises(CheckpointError, match='model.data_preprocessor.bgr_to_rgb'):
        processor_config(model, PIPELINE)
    model = config()
    model.data_preprocessor.update(mean=None, std=None)
    content = processor_config(model, PIPELINE)
    assert not content['do_normalize'] and not content['do_rescale']


def names(things, stuff):
    return dict(thing_classes=tuple(f'thing {i}' for i in range(things)),
                stuff_classes=tuple(f'stuff {i}' for i in range(stuff)))


def write_config(path, model, info):
    Config(dict(default_scope='mmdet', model=model, test_dataloader=dict(dataset=dict(
        type='mmpanseg.PanopticDataset', metainfo=info, ann_file='none.json', test_mode=True,
        pipeline=PIPELINE)))).dump(path)
    return path


@pytest.mark.parametrize('to', ['huggingface', 'mmdet'])
@pytest.mark.parametrize('things, stuff', [(8, 11), (100, 50), (37, 28), (80, 53), (8, 0)])
def test_there_and_back(tool, tmp_path, to, things, stuff):
    if to == 'huggingface':
        pytest.importorskip('safetensors', reason='safetensors is not installed')
    info, model = names(things, stuff), config(things, stuff)
    path = write_config(tmp_path / 'config.py', model, info)
    state = built(model).state_dict()
    torch.save(dict(state_dict=state, meta=dict(dataset_meta=info)), tmp_path / 'ours.pth')
    there = tmp_path / 'there'
    tool('model_converters/export', tmp_path / 'ours.pth', there, '--to', to, '--config', path)
    for options in ([], ['--config', path]):
        tool('model_converters/convert', there, tmp_path / 'back.pth', *options)
        back = torch.load(tmp_path / 'back.pth', weights_only=True)
        assert back['state_dict'].keys() == state.keys()
        assert all(torch.equal(back['state_dict'][key], value) for key, value in state.items())
        assert back['meta']['dataset_meta']['classes'] == (
            *info['thing_classes'], *info['stuff_classes'])
    if to == 'huggingface':
        content = json.loads((there / 'config.json').read_text())
        assert content['mmpanseg']['num_things_classes'] == things
        assert content['id2label']['0'] == 'thing 0' and content['label2id']['thing 0'] == 0


def test_without_position_codes_there_and_back(tool, tmp_path):
    pytest.importorskip('safetensors', reason='safetensors is not installed')
    model = config(query_pos='none')
    path = write_config(tmp_path / 'config.py', model, names(1, 2))
    state = built(model).state_dict()
    torch.save(dict(state_dict=state), tmp_path / 'ours.pth')
    for to in ('huggingface', 'mmdet'):
        tool('model_converters/export', tmp_path / 'ours.pth', tmp_path / to, '--to', to,
             '--config', path)
        tool('model_converters/convert', tmp_path / to, tmp_path / 'back.pth', '--config', path)
        back = read_weights(tmp_path / 'back.pth')
        assert back.keys() == state.keys()
        assert all(torch.equal(back[key], value) for key, value in state.items())


def test_what_export_py_refuses(tool, tmp_path):
    info, model = names(1, 2), config()
    state = built(model).state_dict()
    torch.save(dict(state_dict=state), tmp_path / 'x.pth')

    def refused(match, model, info=info, to='mmdet', file='x.pth'):
        path = write_config(tmp_path / 'config.py', model, info)
        with pytest.raises(UsageError, match=match) as error:
            tool('model_converters/export', tmp_path / file, tmp_path / 'out', '--to', to,
                 '--config', path)
        assert '\n' not in str(error.value) and not (tmp_path / 'out').exists()

    for to in ('mmdet', 'huggingface'):
        refused(r'x.pth: .* cannot express model.panoptic_head.transformer_decoder.pre_norm=True',
                change(config(), f'{DECODER}.pre_norm', True), to=to)
        refused(r'x.pth: .*query_feat.weight is \[7, 32\], the model has \[9, 32\]',
                change(config(), f'{HEAD}.num_queries', 9), to=to)
        refused('names 4 classes .* the model has 3', config(), names(2, 2), to)
    turned = ('stuff 0', 'thing 0', 'stuff 1')
    torch.save(dict(state_dict=state, meta=dict(dataset_meta=dict(classes=turned))),
               tmp_path / 'turned.pth')
    refused("same classes in another order: label 0 is 'stuff 0'", config(), file='turned.pth')


def test_names_for_mmdetection(tool, tmp_path):
    torch.save(dict(state_dict=built(config()).state_dict(),
                    meta=dict(dataset_meta=dict(classes=('a', 'b', 'c')))), tmp_path / 'x.pth')
    tool('model_converters/export', tmp_path / 'x.pth', tmp_path / 'y.pth', '--to', 'mmdet')
    meta = torch.load(tmp_path / 'y.pth', weights_only=True)['meta']
    assert meta['dataset_meta'] == dict(classes=('a', 'b', 'c'))
    assert convert(read_weights(tmp_path / 'y.pth')).source == 'mmdet'


def test_checkpoints_of_trainings_and_converted_ones(tool, tmp_path, capsys):
    """Ours already: nothing but the state of the training goes."""
    path = write_config(tmp_path / 'config.py', config(), names(1, 2))
    state = built(config()).state_dict()
    training, out, again = (tmp_path / name for name in ('iter_9.pth', 'out.pth', 'again.pth'))
    torch.save(dict(state_dict={f'module.{key}': value for key, value in state.items()},
                    meta=dict(iter=9), optimizer=dict(state={}), message_hub=dict()), training)
    for target, text in ((tmp_path, 'is a folder: name the file'),
                         (training, 'iter_9.pth is the checkpoint to convert')):
        with pytest.raises(UsageError, match=text):
            tool('model_converters/convert', training, target)
    tool('model_converters/convert', training, out, '--config', path)
    assert 'or this library' in capsys.readouterr().out
    tool('model_converters/convert', out, again)
    for file in (out, again):
        content = torch.load(file, weights_only=True)
        assert content.keys() == {'meta', 'state_dict'}
        assert content['meta']['dataset_meta']['classes'] == ('thing 0', 'stuff 0', 'stuff 1')
        assert content['state_dict'].keys() == state.keys()
        assert all(torch.equal(content['state_dict'][key], state[key]) for key in state)

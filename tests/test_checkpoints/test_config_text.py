"""Config texts in checkpoints: parsed as Config.fromstring would, executed never."""
import copy
from pathlib import Path

import pytest
import torch
from mmdet.apis import DetInferencer
from mmengine.config import Config

from mmpanseg.apis import PanopticInferencer
from mmpanseg.checkpoints import CheckpointError
from mmpanseg.checkpoints.config_text import parse_config_text
from mmpanseg.checkpoints.engine_loading import config_of, load
from mmpanseg.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(ROOT.glob('configs/*/*demo*.py')) + sorted(ROOT.glob('configs/*/*r50_8xb*.py'))[:4]


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem[:40])
def test_configs_of_this_library(path):
    cfg = Config.fromfile(path)
    expected = Config.fromstring(cfg.pretty_text, '.py')._cfg_dict.to_dict()
    del expected['custom_imports']
    expected['visualizer']['vis_backends'] = []
    found = parse_config_text(cfg.pretty_text).to_dict()
    assert found == expected and repr(found) == repr(expected)


def test_all_forms_of_literals():
    text = ("a = dict(b=-1, c=[1.5, None, True], d=(1, ), e={1, 2}, f={'x-y': dict(z='t')})\n"
            "g = dict({'h-i': 3}, j=4, **{'k l': 5})\n")
    expected = Config.fromstring(text, '.py')._cfg_dict.to_dict()
    assert parse_config_text(text).to_dict() == expected
    assert parse_config_text('').to_dict() == {}


NOT_LITERAL = {
    'import': 'import os', 'call': 'a = print(1)', 'attribute': 'a = ().__class__',
    'name': 'a = b', 'function': 'a = lambda: 1', 'expression': '1', 'sum': 'a = 1 + 1',
    'subscript': 'a = [1][0]', 'comprehension': 'a = [x for x in (1, )]',
    'formatted': "a = f'{1}'", 'star': 'a = [*(1, )]', 'unpacking': 'a, b = 1, 2',
    'attribute target': 'a.b = 1', 'if': 'if True:\n    a = 1', 'two targets': 'a = b = 1',
    'call of another name': 'dict2 = dict3(a=1)', 'positional': 'a = dict([(1, 2)])',
    'unpacked call': 'a = dict(**print(1))', 'key': 'a = {print(1): 2}', 'walrus': 'a = (b := 1)',
    'decorator': '@print\ndef f(): pass', 'dict star': 'a = {**dict(b=1)}'}


@pytest.mark.parametrize('case', NOT_LITERAL)
def test_what_is_no_literal_is_refused(case):
    with pytest.raises(CheckpointError, match=r'no literal data \(line \d: .*name a config') as e:
        parse_config_text(NOT_LITERAL[case])
    assert '\n' not in str(e.value)


@pytest.mark.parametrize('text', [
    'a = (', '\0', 'a = ' + '[' * 5000 + ']' * 5000, 'a = ' + '-' * 50_000 + '1',
    'a = ' + 'dict(a=' * 5000 + '1' + ')' * 5000, 'a' * (5 << 20)], ids=range(6))
def test_texts_that_cannot_be_parsed(text):
    with pytest.raises(CheckpointError, match='config text in it') as error:
        parse_config_text(text)
    assert '\n' not in str(error.value) and len(str(error.value)) < 300


HARMFUL = {
    'base': "_base_ = 'evil.py'",
    'import': "custom_imports = dict(imports=['os'])",
    'one import': "custom_imports = dict(imports='evil')",
    'import of a part': "custom_imports = dict(imports=['mmpanseg_evil'])",
    'function': "model = dict(type='os.system', command='true')",
    'nested': "model = dict(type='MaskRCNN', a=[dict(b=(dict(type='subprocess.Popen'), ))])",
    'module': "model = dict(type='antigravity')",
    'function of a library': "model = dict(type='mmengine.load', file='x')",
    'path in a library': "model = dict(type='mmengine.fileio.io.load')",
    'scope': "model = dict(type='MaskRCNN', _scope_='evil')",
    'default scope': "default_scope = 'evil'",
    'collate': "test_dataloader = dict(collate_fn='os.system')",
    'collate with options': "test_dataloader = dict(collate_fn=dict(type='os.system'))",
    'evaluated option': "model = dict(cmc=dict(type='CameraMotionCompensation', warp_mode='1'))",
    'scoped evaluated option':
        "model = dict(cmc=dict(type='mmdet.CameraMotionCompensation', warp_mode='1'))",
    'evaluated nms': "model = dict(test_cfg=dict(nms=dict(type='print(1)')))",
    'config of a teacher': "model = dict(type='KnowledgeDistillationSingleStageDetector')",
    'config file': "model = dict(teacher_config='evil.py')",
    'pickled annotations': "test_dataloader = dict(dataset=dict(ann_file='http://a/x.pkl'))",
    'yaml annotations': "test_dataloader = dict(dataset=dict(ann_file='x.yaml'))",
    'pickled hierarchy': "test_dataloader = dict(dataset=dict(hierarchy_file='x.np'))"}


@pytest.mark.parametrize('case', HARMFUL)
def test_literals_that_would_run_code(case):
    with pytest.raises(CheckpointError, match='the config text in it .*name a config') as error:
        parse_config_text(HARMFUL[case])
    assert '\n' not in str(error.value)


def test_registered_names_of_all_scopes():
    names = ['mmpanseg.MaskTransformer', 'ResNet', 'mmdet.Resize', 'BN', 'AdamW', 'nms',
             'LoadImageFromFile', 'PolyLR']
    entries = ', '.join(f'dict(type={name!r})' for name in names)
    assert [entry['type'] for entry in parse_config_text(f'a = [{entries}]')['a']] == names


@pytest.fixture
def stored(tiny_config, tmp_path):
    """A checkpoint with its config, as a training writes it."""
    cfg = Config.fromfile(tiny_config)
    model = MODELS.build(cfg.model)
    content = dict(state_dict=model.state_dict(), meta=dict(cfg=cfg.pretty_text, dataset_meta=dict(
        classes=('ball', 'sky', 'ground'))))
    torch.save(content, tmp_path / 'x.pth')
    return content, cfg, tmp_path / 'x.pth'


@pytest.mark.parametrize('kind', [PanopticInferencer, DetInferencer])
def test_inferencers_without_a_config(stored, tiny_config, kind):
    content, cfg, path = stored
    image = torch.randint(0, 255, (64, 64, 3), dtype=torch.uint8).numpy()
    found, expected = (
        kind(**options, weights=str(path), device='cpu', show_progress=False)(
            image, return_datasamples=True)['predictions'][0].pred_panoptic_seg.sem_seg
        for options in ({}, dict(model=str(tiny_config))))
    assert torch.equal(found, expected)


def test_inferencer_in_tiles_without_a_config(stored):
    found = PanopticInferencer(weights=str(stored[2]), device='cpu', tile=(32, 32))
    assert found.model.tiling.tile == (32, 32)


def test_places_of_the_text(stored):
    content, cfg, path = stored
    assert config_of(content, 'x').model == cfg.model
    hub = dict(runtime_info=dict(cfg='model = dict(a=1)'))
    assert config_of(dict(content, message_hub=hub), 'x').model == dict(a=1)
    for bad, text in ((dict(state_dict={}), 'contains no config'), ([], 'contains no config'),
                      (dict(meta=dict(cfg='a = 1')), 'has no model'),
                      (dict(meta=dict(cfg=None)), 'contains no config')):
        with pytest.raises(CheckpointError, match=f'x.pth: .*{text}.*name a config'):
            config_of(bad, 'x.pth')


@pytest.mark.parametrize('text, stays', [
    ('gpu_ids = [0, 1]', True), ('import os', False), ("_base_ = 'a.py'", False),
    ("a = '{{$NONE:1}}'", False), (3, False)])
def test_text_that_mmengine_executes_to_resume(stored, text, stays):
    """Of mmcv 1.x; mmengine replaces variables in it before it is parsed."""
    content = copy.deepcopy(stored[0])
    content['meta']['config'] = text
    torch.save(content, stored[2])
    assert ('config' in load(str(stored[2]))['meta']) == stays

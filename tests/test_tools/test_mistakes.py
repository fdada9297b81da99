"""Ordinary mistakes in calling the tools: one line that names file or option, and status 1."""
import runpy
import sys

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmpanseg.datasets.scenes.generator import write_scenes
from mmpanseg.registry import MODELS

from .. import forked

SCENES = '{0}/{0}_r18_1xb4-scratch-demo_scenes-panoptic.py'
SYSTEMS = ('mask2former', 'kmax_deeplab', 'panoptic_segformer')
# the call after the tool's name; {0} is the config, {1} the checkpoint
WITH_CHECKPOINT = {
    'test': '{0} {1}', 'image_demo': 'image.png {0} {1}',
    'analysis_tools/attention_maps': '{0} {1} --out-dir out',
    'analysis_tools/kmeans_assignments': '{0} {1} --out-dir out',
    'analysis_tools/query_consistency': '{0} {1}',
    'analysis_tools/query_preference': '{0} {1}',
    'analysis_tools/sweep_fusion': 'save {0} {1} out',
    'analysis_tools/tiled_vs_whole': '{0} {1} image.png'}
WITH_CONFIG = {'train': '{0}', 'analysis_tools/get_flops': '{0}', **WITH_CHECKPOINT}


@pytest.fixture(scope='module')
def folder(tmp_path_factory, repo_root):
    """Configs and random weights of three systems, scenes, an image and files that are none."""
    init_default_scope('mmdet')
    folder = tmp_path_factory.mktemp('mistakes')
    write_scenes(str(folder), 'val', 1, (48, 64), 0)
    cv2.imwrite(str(folder / 'image.png'), np.zeros((40, 50, 3), np.uint8))
    for name in SYSTEMS:
        config = Config.fromfile(repo_root / 'configs' / SCENES.format(name))
        config.test_dataloader.dataset.data_root = str(folder)
        config.dump(folder / f'{name}.py')
        config.test_dataloader.dataset.data_root = str(folder / 'nowhere')
        config.dump(folder / f'{name}_no_data.py')
        config.test_dataloader.dataset.data_root = str(folder)
        torch.save(dict(state_dict=MODELS.build(config.model).state_dict(), meta=dict(
            dataset_meta=dict(classes=[str(i) for i in range(12)]))), folder / f'{name}.pth')
    config.model.panoptic_head.type = 'mmpanseg.PanopticSegFormerHaed'
    config.dump(folder / 'misspelled.py')
    (folder / 'other.py').write_text("default_scope = 'mmdet'")
    (folder / 'broken.py').write_text('model = dict(type=')
    (folder / 'text.txt').write_text('neither an image nor a config')
    (folder / 'damaged.png').write_text('no image')
    return folder


@pytest.fixture
def call(repo_root, folder, monkeypatch):
    """Calls a tool in this process; gives its one line without the tool's name."""
    monkeypatch.chdir(folder)

    def call(tool, *args):
        path = repo_root / f'tools/{tool}.py'
        monkeypatch.setattr(sys, 'argv', [str(path), *args])
        monkeypatch.setattr(sys, 'path', [str(path.parent), *sys.path])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(path), run_name='__main__')
        text = end.value.code
        # sys.exit prints a text and ends with status 1
        assert isinstance(text, str) and len(text.splitlines()) == 1, text
        assert text.startswith(f'{path.name}: error: ')
        return text.removeprefix(f'{path.name}: error: ')
    return call


@pytest.mark.parametrize('tool', WITH_CONFIG)
def test_config(call, tool):
    def mistake(config, *more):
        line = WITH_CONFIG[tool].format(config, 'mask2former.pth')
        return call(tool, *line.split(), *more)
    assert mistake('absent.py') == 'config file absent.py does not exist'
    assert 'config file text.txt cannot be read' in mistake('text.txt')
    assert 'config file broken.py cannot be read: SyntaxError' in mistake('broken.py')
    assert 'other.py has no model' in mistake('other.py')
    assert 'KEY=VALUE' in mistake('mask2former.py', '--cfg-options', 'model', '=', '3')
    assert '--cfg-options default_scope.x.y' in mistake(
        'mask2former.py', '--cfg-options', 'default_scope.x.y=3')


@pytest.mark.parametrize('tool', WITH_CHECKPOINT)
def test_checkpoint(call, tool):
    line = WITH_CHECKPOINT[tool].format('mask2former.py', 'absent.pth')
    assert call(tool, *line.split()) == 'checkpoint absent.pth does not exist'


@pytest.mark.parametrize('tool', [tool for tool in WITH_CONFIG if tool not in (
    'train', 'test', 'analysis_tools/tiled_vs_whole')])
def test_unknown_type(call, tool):
    line = WITH_CONFIG[tool].format('misspelled.py', 'panoptic_segformer.pth')
    assert "did you mean 'mmpanseg.PanopticSegFormerHead'" in call(tool, *line.split())


@pytest.mark.parametrize('tool', [
    tool for tool, line in WITH_CHECKPOINT.items() if 'image' not in line and tool != 'test'])
def test_missing_data(call, tool):
    line = WITH_CHECKPOINT[tool].format('mask2former_no_data.py', 'mask2former.pth')
    assert 'nowhere/annotations/panoptic_val.json' in call(tool, *line.split())


@pytest.mark.parametrize('tool, system, text', [
    ('kmeans_assignments', 'mask2former', 'KMaXDeepLabHead'),
    ('kmeans_assignments', 'panoptic_segformer', 'KMaXDeepLabHead'),
    ('attention_maps', 'mask2former', 'PanopticSegFormerHead'),
    ('attention_maps', 'kmax_deeplab', 'PanopticSegFormerHead')])
def test_tool_of_another_system(call, tool, system, text):
    tool = f'analysis_tools/{tool}'
    line = WITH_CHECKPOINT[tool].format(f'{system}.py', f'{system}.pth')
    assert text in call(tool, *line.split())


@pytest.mark.parametrize('image, text', [
    ('absent.png', 'absent.png'), ('damaged.png', 'damaged.png cannot be read as an image'),
    ('out*.jpg', 'out*.jpg')])
def test_image(call, image, text):
    assert text in call('image_demo', image, 'mask2former.py', 'mask2former.pth')


@pytest.mark.parametrize('device', ['cuda:0', 'gpu', 'cuda:x'])
def test_device(call, device):
    if device == 'cuda:0' and torch.cuda.is_available():
        pytest.skip('there is one')
    rest = ['mask2former.py', 'mask2former.pth']
    for text in (call('image_demo', 'image.png', *rest, '--device', device),
                 call('analysis_tools/tiled_vs_whole', *rest, 'image.png', '--device', device)):
        assert f'--device {device} cannot be used here' in text


@pytest.mark.parametrize('tool, line, text', [
    ('publish_model', 'absent.pth out', 'absent.pth'),
    ('publish_model', 'text.txt out', 'text.txt'),
    ('model_converters/convert', 'absent.pth out.pth', 'absent.pth'),
    ('model_converters/convert', 'text.txt out.pth', 'text.txt'),
    ('model_converters/convert', 'mask2former.pth out.pth --config absent.py', 'absent.py'),
    ('model_converters/export', 'absent.pth out --to mmdet', 'absent.pth'),
    ('analysis_tools/sweep_fusion', 'score nowhere', 'nowhere'),
    ('analysis_tools/get_flops', 'mask2former.py --size 8 64', '--size 8 64'),
    ('analysis_tools/tiled_vs_whole', 'mask2former.py mask2former.pth absent.png', 'absent.png'),
    ('analysis_tools/tiled_vs_whole', 'mask2former.py mask2former.pth image.png --cfg-options '
     'model.test_cfg.panoptic_on=False model.test_cfg.semantic_on=True', 'no panoptic results')])
def test_others(call, tool, line, text):
    assert text in call(tool, *line.split())


@pytest.mark.parametrize('count', ['0', '-1', 'all'])
def test_counts_are_positive(repo_root, monkeypatch, capsys, count):
    path = str(repo_root / 'tools/analysis_tools/query_preference.py')
    monkeypatch.setattr(sys, 'argv', [path, 'a.py', 'a.pth', f'--num-images={count}'])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(path, run_name='__main__')
    assert end.value.code == 2  # argparse's own
    assert f'must be a number of at least 1, got {count}' in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize('tool', ['train', 'test'])
def test_runs(repo_root, folder, tool):
    line = WITH_CONFIG[tool].format('misspelled.py', 'panoptic_segformer.pth')
    done = forked.run([repo_root / f'tools/{tool}.py', *line.split()], cwd=folder)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f'{tool}.py: error: type=')
    assert 'Traceback' not in done.stderr

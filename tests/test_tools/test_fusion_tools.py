"""Tools that look into a trained model, run as a user runs them, on drawn scenes."""
import json

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmpanseg.datasets.scenes.generator import write_scenes
from mmpanseg.registry import MODELS

from .. import forked


@pytest.fixture(scope='module')
def folder(tmp_path_factory, repo_root):
    """Config and weights of a small model that is unsure, and scenes."""
    init_default_scope('mmdet')
    folder = tmp_path_factory.mktemp('tools')
    write_scenes(str(folder), 'val', 2, (64, 64), 0)
    cfg = Config.fromfile(repo_root / (
        'configs/panoptic_segformer/panoptic_segformer_r18_1xb4-scratch-demo_scenes-panoptic.py'))
    cfg.test_dataloader.dataset.data_root = str(folder)
    cfg.model.panoptic_fusion_head.update(t_cnf=0, t_keep=0)
    cfg.dump(folder / 'config.py')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    for decoder in (model.panoptic_head.mask_decoder, model.panoptic_head.stuff_mask_decoder):
        torch.nn.init.constant_(decoder.tail.mask_generator.fuse.bias, 0.5)
    torch.save(model.state_dict(), folder / 'weights.pth')
    return folder


@pytest.fixture
def run(repo_root, folder):
    def run_tool(name, *arguments):
        return forked.run([repo_root / f'tools/analysis_tools/{name}.py', *arguments], cwd=folder)
    return run_tool


@pytest.mark.slow
def test_saved_outputs_are_compared(run, folder):
    done = run('sweep_fusion', 'save', 'config.py', 'weights.pth', 'raw')
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'outputs for 2 images are in raw' in done.stdout
    done = run('sweep_fusion', 'score', 'raw', '--tables', 'procedures', 'exponents')
    assert done.returncode == 0, done.stderr[-2000:]
    for text in ('2 images', 'Table B.2', 'heuristic procedure', 'Table B.3', '| beta'):
        assert text in done.stdout
    assert 'Table B.4' not in done.stdout


@pytest.mark.slow
def test_preference_of_queries(run, folder):
    done = run('query_preference', 'config.py', 'weights.pth', '--out', 'queries.json')
    assert done.returncode == 0, done.stderr[-2000:]
    assert '| 0.9 - 1.0' in done.stdout
    total, = (line.split('|') for line in done.stdout.splitlines() if line.startswith('| total'))
    rows = json.loads((folder / 'queries.json').read_text())
    assert sum(sum(row[kind].values()) for row in rows for kind in ('thing', 'stuff')) == (
        int(total[4]) + int(total[7])) > 0


@pytest.mark.slow
def test_attention_maps(run, folder):
    done = run('attention_maps', 'config.py', 'weights.pth', '--out-dir', 'maps', '--num-images',
               '1')
    assert done.returncode == 0, done.stderr[-2000:]
    assert '1 pictures are in maps' in done.stdout
    assert len(list((folder / 'maps').glob('*.png'))) == 1


@pytest.mark.slow
def test_mistakes_are_one_line(run):
    done = run('sweep_fusion', 'score', 'absent')
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith('sweep_fusion.py: error: absent/index.json')
    done = run('query_preference', 'config.py', 'absent.pth')
    assert done.stderr.splitlines()[-1] == (
        'query_preference.py: error: checkpoint absent.pth does not exist')

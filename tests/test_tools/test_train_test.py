"""The training and test tools, run as a user runs them, on data made on the spot."""
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from .. import forked

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def config(tiny_config: Path) -> Path:
    """Config of a very small model with its data."""
    return tiny_config


def output_of(done: subprocess.CompletedProcess, expect=0) -> str:
    """Output of a tool; its exit status must be as expected."""
    assert (done.returncode == 0) == (expect == 0), done.stdout[-4000:]
    return done.stdout


def run(*command, cwd) -> str:
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHON=sys.executable,
               PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]))
    return output_of(subprocess.run(
        [str(part) for part in command], cwd=cwd, env=env, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=300))


def tool(name, *args, cwd, expect=0) -> str:
    env = dict(os.environ, OMP_NUM_THREADS='1',
               PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]))
    return output_of(forked.run([ROOT / 'tools' / name, *args], cwd=cwd, env=env, merged=True),
                     expect)


def lines_with(output: str, word: str) -> list[str]:
    return [line for line in output.splitlines() if word in line]


@pytest.mark.slow
def test_train_resume_test(config, tmp_path):
    """A resumed training goes on with iteration, schedule and optimiser; then the score."""
    options = ['--cfg-options', 'randomness.seed=0', 'train_dataloader.sampler.shuffle=False']
    out = tool('train.py', config, '--work-dir', 'run', *options, cwd=tmp_path)
    assert 'Iter(train) [4/4]' in out and 'loss' in out
    assert (tmp_path / 'run/iter_2.pth').is_file()

    out = tool('train.py', config, '--work-dir', 'run', '--resume', *options,
               'train_cfg.max_iters=6', cwd=tmp_path)
    assert 'iter_4.pth' in out
    assert 'Iter(train) [5/6]' in out and 'Iter(train) [4/6]' not in out
    # Polynomial decay over 8 steps, power 0.9.
    rate = float(re.search(r'\[5/6\]  lr: (\S+)', out)[1])
    assert rate == pytest.approx(1e-3 * 0.5 ** 0.9, rel=0.15)
    saved = torch.load(tmp_path / 'run/iter_6.pth', weights_only=False)
    assert saved['meta']['iter'] == 6 and saved['optimizer']['state']

    out = tool('train.py', config, '--work-dir', 'again', '--resume', 'run/iter_4.pth', *options,
               'train_cfg.max_iters=6', cwd=tmp_path)
    assert 'Iter(train) [6/6]' in out

    out = tool('test.py', config, 'run/iter_6.pth', '--work-dir', 'run', '--show-dir', 'pictures',
               '--out', 'predictions.pkl', cwd=tmp_path)
    for name in ('ball', 'sky', 'ground'):
        assert lines_with(out, name), out[-3000:]
    assert re.search(r'PQ', out)
    pictures = sorted(tmp_path.glob('run/*/pictures/*.png'))
    assert len(pictures) == 6
    assert cv2.imread(str(pictures[0])).shape[1] > 3 * 640
    predictions = np.load(tmp_path / 'predictions.pkl', allow_pickle=True)
    assert len(predictions) == 6
    assert 'gt_segments' not in predictions[0]
    assert predictions[0]['pred_panoptic_seg']['sem_seg'].shape == (1, 64, 64)


SAVE_RANKS = """
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
import torch


@HOOKS.register_module()
class SaveRanks(Hook):
    def after_train(self, runner):
        torch.save(runner.model.module.state_dict(), f'rank{get_rank()}.pth')
"""


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='checks machines without a GPU')
def test_two_processes_without_gpu(config, tmp_path):
    """Both processes end with the same parameters, which differ from the first ones."""
    (tmp_path / 'save_ranks.py').write_text(SAVE_RANKS)
    path = tmp_path / 'two.py'
    path.write_text(f"_base_ = '{config.as_posix()}'\n"
                    "custom_imports = dict(imports=['mmpanseg', 'save_ranks'])\n"
                    "custom_hooks = [dict(type='SaveRanks')]\n"
                    "sync_bn = 'torch'\n"
                    "model = dict(backbone=dict(norm_cfg=dict(type='SyncBN')))\n")
    os.environ['PYTHONPATH'], before = str(tmp_path), os.environ.get('PYTHONPATH', '')
    try:
        out = run('bash', ROOT / 'tools/dist_train.sh', path, 2, '--work-dir', 'run',
                  '--cfg-options', 'train_cfg.val_interval=4', cwd=tmp_path)
    finally:
        os.environ['PYTHONPATH'] = before
    assert 'Iter(train) [4/4]' in out
    assert out.count('Without a GPU batch norms are not synchronized') == 1
    assert '4 images a step (2 x 2)' in out
    one, two = (torch.load(tmp_path / f'rank{k}.pth') for k in (0, 1))
    assert one.keys() == two.keys()
    for name in one:
        if 'running_' not in name:  # statistics of BatchNorm are each process's own
            torch.testing.assert_close(one[name], two[name], rtol=0, atol=0, msg=name)
    halfway = torch.load(tmp_path / 'run/iter_2.pth', weights_only=False)['state_dict']
    assert not torch.equal(halfway['panoptic_head.cls_embed.weight'],
                           one['panoptic_head.cls_embed.weight'])
    pq = lines_with(out, 'PQ')
    assert pq, out[-3000:]

    out = run('bash', ROOT / 'tools/dist_test.sh', config, 'run/iter_4.pth', 2, '--work-dir',
              'run', cwd=tmp_path)
    alone = tool('test.py', config, 'run/iter_4.pth', '--work-dir', 'run', cwd=tmp_path)
    score = re.compile(r'\S*PQ: +\S+')
    assert score.findall(out) and score.findall(out) == score.findall(alone)


@pytest.mark.slow
def test_mistakes_are_told_in_one_line(config, tmp_path):
    def last_line(name, *args):
        return tool(name, *args, cwd=tmp_path, expect=1).strip().splitlines()[-1]

    assert last_line('train.py', 'absent.py') == (
        'train.py: error: config file absent.py does not exist')
    assert last_line('test.py', config, 'absent.pth') == (
        'test.py: error: checkpoint absent.pth does not exist')

"""The tool behind Table 1, run as a user runs it, on two drawn scenes."""
import runpy
import sys

import pytest
import torch
from mmengine.config import Config

from mmpanseg.datasets.scenes.generator import write_scenes
from mmpanseg.registry import MODELS

from .. import forked

LAYERS = 3


def write_model(repo_root, folder, name):
    cfg = Config.fromfile(
        repo_root / f'configs/{name}/{name}_r18_1xb4-scratch-demo_scenes-panoptic.py')
    cfg.test_dataloader.dataset.data_root = str(folder)
    cfg.test_dataloader.update(num_workers=0, persistent_workers=True, prefetch_factor=2)
    cfg.dump(folder / f'{name}.py')
    torch.manual_seed(0)
    torch.save(MODELS.build(cfg.model).state_dict(), folder / f'{name}.pth')


@pytest.mark.slow
@pytest.mark.parametrize('name', ['mask2former', 'mp_former'])
def test_rows_of_table_1(repo_root, tmp_path, name):
    write_scenes(str(tmp_path), 'val', 3, (64, 64), 0)
    write_model(repo_root, tmp_path, name)
    found = []
    for match_on in ('points', 'masks'):
        done = forked.run([repo_root / 'tools/analysis_tools/query_consistency.py', f'{name}.py',
                           f'{name}.pth', '--num-images', '2', '--match-on', match_on],
                          cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-2000:]
        lines = done.stdout.splitlines()[-5 if name == 'mp_former' else -3:]
        assert lines[0].split() == ['layer'] + [str(i) for i in range(1, LAYERS + 1)]
        parts = ['matching part'] + ['mask-piloted part'] * (name == 'mp_former')
        for part, (consistency, utilization) in zip(
                parts, zip(lines[1::2], lines[2::2]), strict=True):
            assert consistency.startswith(part)
            values = [float(x) for x in consistency.split('mIoU-L')[1].split()]
            assert len(values) == LAYERS and all(0 <= x <= 100 for x in values)
            star = '*' if part != 'matching part' else ''
            assert utilization.split()[0] == 'Util' + star
            assert utilization.split()[-1] == '100.0'
        found.append(lines)
    assert found[0][1] == found[1][1]  # mIoU-L has nothing to do with matching


def test_absent_checkpoint(repo_root, tmp_path):
    done = forked.run([
        repo_root / 'tools/analysis_tools/query_consistency.py',
        repo_root / 'configs/mp_former/mp_former_r50_8xb2-lsj-50e_coco-panoptic.py', 'absent.pth'],
        cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        'query_consistency.py: error: checkpoint absent.pth does not exist')


def test_other_heads_are_refused_at_the_start(repo_root, tmp_path, monkeypatch):
    write_scenes(str(tmp_path), 'val', 1, (64, 64), 0)
    write_model(repo_root, tmp_path, 'kmax_deeplab')
    tool = repo_root / 'tools/analysis_tools/query_consistency.py'
    monkeypatch.setattr(sys, 'argv', [tool.name, *(
        str(tmp_path / f'kmax_deeplab.{ending}') for ending in ('py', 'pth'))])
    with pytest.raises(
            SystemExit, match='error: KMaXDeepLabHead has no predictions of every .*Mask2Former'):
        runpy.run_path(str(tool), run_name='__main__')

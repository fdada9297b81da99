"""The command lines of the converters."""
import importlib.util
import runpy
import sys

import pytest


@pytest.fixture
def downloads(repo_root):
    spec = importlib.util.spec_from_file_location(
        'downloads', repo_root / 'tests/test_datasets/downloads.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(repo_root, monkeypatch):
    def call(tool, *args):
        path = str(repo_root / f'tools/dataset_converters/{tool}.py')
        monkeypatch.setattr(sys, 'argv', [path, *map(str, args)])
        runpy.run_path(path, run_name='__main__')
    return call


def test_cityscapes(run, downloads, tmp_path, capsys):
    downloads.cityscapes(tmp_path / 'raw')
    run('cityscapes', tmp_path / 'raw', '--out', tmp_path / 'out', '--train-ids', '--workers', 2)
    assert capsys.readouterr().out.count('2 images') == 2
    names = {str(p.relative_to(tmp_path / 'out')) for p in (tmp_path / 'out').rglob('*.json')}
    assert names == {f'annotations/{kind}_{split}.json'
                     for kind in ('panoptic', 'instances') for split in ('train', 'val')}
    assert len([*(tmp_path / 'raw').rglob('*labelTrainIds.png')]) == 4


def test_ade20k(run, downloads, tmp_path):
    downloads.ade20k(tmp_path)
    run('ade20k', tmp_path, '--splits', 'val')
    assert {p.name for p in tmp_path.glob('*.json')} == {
        'ade20k_panoptic_val.json', 'ade20k_instance_val.json'}


@pytest.mark.parametrize('tool, text', [
    ('cityscapes', 'leftImg8bit/train: no such folder'),
    ('ade20k', 'images/training: no such folder'),
    ('mapillary', 'config.json does not exist'),
    ('coco_semantic', 'panoptic_train2017.json does not exist')])
def test_mistakes_end_in_one_line(run, tmp_path, tool, text):
    with pytest.raises(SystemExit, match=f'{tool}.py: error: .*{text}'):
        run(tool, tmp_path)

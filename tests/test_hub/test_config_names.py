"""Names of configs: exact, the start of one, several, near ones; where the configs are."""
import pytest

import mmpanseg
from mmpanseg.engine import UsageError
from mmpanseg.hub import find_configs
from mmpanseg.hub.config_files import config_paths, select_name

NAMES = [f'mask2former_r50_{n}' for n in range(12)] + ['mask2former_r50', 'kmax_r50_coco']


@pytest.mark.parametrize(('text', 'name'), [
    ('mask2former_r50_3', 'mask2former_r50_3'), ('kmax', 'kmax_r50_coco'),
    ('mask2former_r50', 'mask2former_r50'), ('mask2former_r50_1', 'mask2former_r50_1')])
def test_exact_names_and_unique_starts(text, name):
    assert select_name(text, NAMES) == name


def test_several_names_are_listed_eight_at_most():
    with pytest.raises(UsageError) as error:
        select_name('mask2former_', NAMES)
    assert str(error.value) == (
        'mask2former_ is the start of 13 names: '
        + ', '.join(f'mask2former_r50_{n}' for n in range(8)) + ' and 5 more; write more of one')


def test_near_names_are_listed():
    with pytest.raises(UsageError, match='is no config.*near names are kmax_r50_coco$'):
        select_name('kmax_r50_cocoa', NAMES)
    with pytest.raises(UsageError, match='`mmpanseg models` lists all names'):
        select_name('???', NAMES)
    with pytest.raises(UsageError, match='lists all names'):
        select_name('', NAMES)


def test_configs_of_a_checkout_and_of_a_package(repo_root, tmp_path, monkeypatch):
    package = tmp_path / 'site/mmpanseg'
    package.mkdir(parents=True)
    monkeypatch.setattr(mmpanseg, '__file__', str(package / '__init__.py'))
    with pytest.raises(UsageError, match='has no configs: install the wheel'):
        find_configs()
    (tmp_path / 'site/configs/_base_').mkdir(parents=True)
    assert find_configs() == tmp_path / 'site/configs'
    (package / '.mim/configs/_base_').mkdir(parents=True)
    assert find_configs() == package / '.mim/configs'


def test_every_config_has_its_own_name(repo_root):
    paths = config_paths(find_configs())
    files = [path for path in (repo_root / 'configs').rglob('*.py') if '_base_' not in path.parts]
    assert len(files) == len(paths) > 190
    assert sorted(paths.values()) == sorted(files)

"""Packaging for mim: the index at the root, the fields that mim reads, the files in a wheel."""
import subprocess
import sys
from importlib import metadata

import pytest
import yaml


@pytest.fixture
def metafiles(repo_root):
    paths = yaml.safe_load((repo_root / 'model-index.yml').read_text())['Import']
    return {path: yaml.safe_load((repo_root / path).read_text()) for path in paths}


def test_every_metafile_is_listed(repo_root, metafiles):
    there = {str(path.relative_to(repo_root)) for path in repo_root.glob('configs/*/metafile.yml')}
    assert set(metafiles) == there


def test_fields_that_mim_reads(repo_root, metafiles):
    names = []
    for path, content in metafiles.items():
        collections = [collection['Name'] for collection in content['Collections']]
        assert collections and all((repo_root / c['README']).is_file()
                                   and c['Paper']['URL'] and c['Paper']['Title']
                                   for c in content['Collections'])
        for model in content['Models']:
            assert (repo_root / model['Config']).is_file(), (path, model['Name'])
            assert model['In Collection'] in collections
            for result in model['Results']:
                assert result['Dataset'] and result['Task'] and all(
                    isinstance(value, (int, float)) for value in result['Metrics'].values())
            # the published files need a conversion, so they are no weights of this library
            assert 'Weights' not in model
            if 'Converted From' in model:
                assert all(model['Converted From'][key].startswith('https://')
                           for key in ('Weights', 'Code'))
            names.append(model['Name'])
    assert len(names) == len(set(names))


def test_wheel_has_configs_tools_and_index(repo_root, tmp_path):
    try:
        version = metadata.version('setuptools')
    except metadata.PackageNotFoundError:
        version = '0'
    if int(version.split('.')[0]) < 68:
        pytest.skip('needs setuptools 68 or newer, as pyproject.toml says')
    subprocess.run([sys.executable, 'setup.py', '-q', 'build_py', '--build-lib', str(tmp_path)],
                   cwd=repo_root, check=True, capture_output=True)
    packed = tmp_path / 'mmpanseg/.mim'
    for folder in ('configs', 'tools'):
        wanted = {path.relative_to(repo_root) for path in (repo_root / folder).rglob('*')
                  if path.is_file()
                  and not {'__pycache__', 'benchmark', 'install.sh'} & {*path.parts}}
        assert {path.relative_to(packed) for path in (packed / folder).rglob('*')
                if path.is_file()} == wanted
    assert (packed / 'model-index.yml').read_text() == (repo_root / 'model-index.yml').read_text()

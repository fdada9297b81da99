"""``mmpanseg models``: table, rows for programs, everything about one model."""
import io
import json

import pytest
from click.testing import CliRunner

from mmpanseg.cli.app import main
from mmpanseg.cli.verbs import models as verb

SHORT, NAME = 'mask2former-r50-coco-panoptic', 'mask2former_r50_8xb2-lsj-50e_coco-panoptic'


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('MMPANSEG_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


def run(*arguments):
    return CliRunner().invoke(main, ['models', *arguments])


def test_rows_where_the_output_is_no_terminal(repo_root):
    result = run()
    assert result.exit_code == 0
    head, *rows = [line.split('\t') for line in result.stdout.splitlines()]
    assert head == ['name', 'short_name', 'system', 'task', 'dataset', 'backbone', 'parameters',
                    'metric', 'score', 'license', 'by_name']
    configs = [path for path in (repo_root / 'configs').rglob('*.py') if '_base_' not in path.parts]
    assert len(rows) == len(configs) and {len(row) for row in rows} == {11}
    row, = (row for row in rows if row[0] == NAME)
    assert row == [NAME, SHORT, 'Mask2Former', 'panoptic', 'COCO', 'R50', '43983878', 'PQ', '51.9',
                   'CC-BY-NC-4.0', 'yes']


def test_json(cache):
    (cache / 'weights').mkdir(parents=True)
    (cache / f'weights/{SHORT}.safetensors').write_bytes(b'')
    found, = json.loads(run(SHORT, '--json').stdout)
    assert found['name'] == NAME and found['by_name'] == 'cached'
    assert found['scores']['PQ'] == 51.9 and found['parameters'] == 43983878
    assert found['weights']['cached'] == str(cache / f'weights/{SHORT}.safetensors')
    assert found['weights']['license'] == 'CC-BY-NC-4.0'
    assert found['weights']['url'].endswith('maskformer2_R50_bs16_50ep/model_final_94dc52.pkl')


@pytest.mark.parametrize('name', [SHORT, NAME])
def test_everything_about_one_model(name, repo_root, cache):
    lines = run(name).stdout.splitlines()
    assert lines[0] == NAME
    rows = {line[:14].strip(): line[14:].strip() for line in lines[1:]}
    assert rows['config'] == str(repo_root / f'configs/mask2former/{NAME}.py')
    assert rows['license'] == 'CC-BY-NC-4.0, no commercial use'
    assert rows['parameters'] == '44.0 M' and rows['MD5'] == '94dc52...'
    assert rows['published'].startswith('PQ 51.9, PQ th 57.7')
    file = cache / f'downloads/{SHORT}/model_final_94dc52.pkl'
    assert rows['in the cache'] == f'no; a file at {file} is used'


def test_no_model_matches():
    result = run('mask2former-r50-coco-panoptik')
    assert result.exit_code == 1
    assert result.stderr.startswith('mmpanseg models: error: no model matches '
                                    'mask2former-r50-coco-panoptik; near names are mask2former-r50')
    assert len(result.stderr.splitlines()) == 1
    assert '`mmpanseg models` lists all of them' in run('zzz').stderr


@pytest.mark.parametrize(('width', 'longest', 'wide'), [(100, 55, False), (160, 70, True)])
def test_table_on_a_terminal(width, longest, wide, monkeypatch):
    from rich.console import Console

    text = io.StringIO()
    monkeypatch.setattr(verb, 'console', lambda: Console(
        file=text, width=width, force_terminal=True, color_system=None, soft_wrap=True,
        highlight=False))
    from mmpanseg.hub import list_models
    found = list_models()
    verb._show_table(found)
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    for model in found:
        if len(model.name) <= longest:
            row = next(line for line in lines if line.startswith(f'{model.name} '))
            assert (f'{model.task}  {model.dataset} ' in row) == wide
            assert f'{model.parameters / 1e6:.1f} M' in row
        if model.release:  # in one line, so that it can be copied
            assert any(line.startswith(f'  {model.short_name} ') for line in lines)
            assert not wide or model.release.license in next(
                line for line in lines if line.startswith(f'  {model.short_name} '))
    assert [line for line in lines if line.rstrip() in {model.system for model in found}]


"""``mmpanseg import``: options, screen, exit status, the config and the doctor at its end."""
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from mmpanseg.cli.app import main
from mmpanseg.engine import load_config
from mmpanseg.importers.format_list import list_formats


@pytest.fixture
def invoke():
    def call(*arguments):
        return CliRunner().invoke(main, ['import', *map(str, arguments)])
    return call


@pytest.fixture
def source(tmp_path):
    """Label maps with a square on a floor; every image is different."""
    rng = np.random.default_rng(0)
    for number in range(6):
        labels = np.zeros((48, 64), np.uint8)
        y, x = rng.integers(4, 20, 2)
        labels[y:y + 16, x:x + 16], labels[:, 60:] = 1, 7
        pixels = np.repeat(rng.integers(0, 256, (6, 8, 3), np.uint8), 8, 0).repeat(8, 1)
        for folder, values in (('images', pixels), ('labels', labels)):
            path = tmp_path / 'src' / folder / f'v{number // 2}_{number}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(path)
    (tmp_path / 'src/classes.txt').write_text('floor\nbox\n')
    return tmp_path / 'src'


def test_help_lists_the_formats_without_importing_them(invoke):
    result = invoke('--help')
    assert result.exit_code == 0
    for name, text in list_formats().items():
        assert f'\n  {name} ' in result.output and text.split()[0] in result.output
    assert {'coco', 'pairs', 'semantic', 'cityscapes', 'panoptic', 'camvid'} <= set(list_formats())


def test_the_options_reach_the_import_and_the_config_trains_on_it(invoke, source, tmp_path):
    dst = tmp_path / 'dst'
    result = invoke('semantic', source, dst, '--things', 'crate', '--rename', 'box=crate',
                    'floor=ground', '--background', 'ground', '--ignore', 7, '--group', r'v\d',
                    '--val', 0.34, '--seed', 3, '--min-area', 4, '--images-by', 'symlink',
                    '--backbone', 'r18', '--workers', 1)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == f'{dst}: panoptic, images: 4 train, 2 val'
    assert lines[1:3] == ['1 things (segments): crate 6', '1 stuff (segments): ground 6']
    config, = dst.glob('*.py')
    assert f'config: {config}' in lines and f'  mmpanseg train {config}   # train' in lines
    assert len(list((dst / 'images/val').iterdir())) == 2
    assert all(path.is_symlink() for path in (dst / 'images/val').iterdir())
    groups = [{path.name[:2] for path in (dst / 'images' / split).iterdir()}
              for split in ('train', 'val')]
    assert not groups[0] & groups[1]
    cfg = load_config(str(config))
    assert (cfg.model.num_things_classes, cfg.model.num_stuff_classes) == (1, 1)


def test_the_doctor_gives_the_exit_status(invoke, source, tmp_path):
    name = next((source / 'images').iterdir())
    data = name.read_bytes()
    name.write_bytes(data[:60])  # the header is whole
    result = invoke('semantic', source, tmp_path / 'dst', '--backbone', 'r18', '--ignore', 7)
    assert result.exit_code == 1, result.output
    assert 'ERROR' in result.output and name.name in result.output


def test_without_validation_images_there_is_no_config(invoke, source, tmp_path):
    dst = tmp_path / 'dst'
    result = invoke('semantic', source, dst, '--val', 0, '--ignore', 7, '--classes',
                    tmp_path / 'names.txt')
    assert result.exit_code == 1 and 'names.txt' in result.output
    (tmp_path / 'names.txt').write_text('floor\nbox\nlamp\n')
    result = invoke('semantic', source, dst, '--val', 0, '--ignore', 7, '--classes',
                    tmp_path / 'names.txt')
    assert result.exit_code == 0, result.output
    assert 'floor 6, box 6, 1 class without any' in result.output
    assert 'PAN406' in result.output and 'no config: it needs validation' in result.output
    assert not list(dst.glob('*.py'))


def test_without_config_nothing_is_checked(invoke, source, tmp_path):
    result = invoke('semantic', source, tmp_path / 'dst', '--no-config', '--ignore', 7)
    assert result.exit_code == 0 and not list((tmp_path / 'dst').glob('*.py'))
    assert result.output.splitlines() == [
        f'{tmp_path}/dst: semantic, images: 5 train, 1 val',
        '2 stuff (images): floor 6, box 6']


@pytest.mark.parametrize(('arguments', 'status', 'text'), [
    (('--rename', 'box'), 2, "Invalid value for '--rename': write OLD=NEW, without spaces around ="
     ' (see mmpanseg import --help)'),
    (('--things', 'bx'), 1, '--things bx: the source has no such class; near names are box'),
    (('--images', '/no'), 1, '/no: no such folder of images'),
    ((), 1, '{src}/labels/v0_0.png has the value(s) 7, which are no class of the file of classes; '
     'add them, or make them unlabeled with --ignore 7')])
def test_mistakes_are_one_line(invoke, source, tmp_path, arguments, status, text):
    result = CliRunner().invoke(main, ['import', 'semantic', str(source), str(tmp_path / 'dst'),
                                       '--workers', '1', *arguments])
    assert result.exit_code == status
    assert result.stderr.splitlines()[-1].endswith(f'error: {text.format(src=source)}')


def test_the_module_has_the_name_of_a_keyword():
    # `import` cannot be imported by a statement; the command finds it by its file
    path = Path(__file__).resolve().parents[2] / 'mmpanseg/cli/verbs/import.py'
    assert path.is_file() and importlib.util.find_spec('mmpanseg.cli.verbs.import') is not None

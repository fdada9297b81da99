"""tools/install.sh reports errors in one line before a download; contents of the wheel."""
import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from itertools import product
from pathlib import Path
from venv import EnvBuilder

import pip
import pytest
from mmengine.config import Config

from mmpanseg.version import __version__

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / 'tools/install.sh'


def install(*arguments: str, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ['bash', str(SCRIPT), *arguments], env={**os.environ, 'PYTHON': sys.executable, **env},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)


def make_program(folder: Path, name: str, text: str) -> Path:
    program = folder / name
    program.write_text(f'#!/bin/sh\n{text}\n')
    program.chmod(0o755)
    return program


def assert_one_clear_line(done: subprocess.CompletedProcess, *parts: str) -> None:
    assert done.returncode == 1, done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith('error: '), done.stderr
    for part in parts:
        assert part in lines[0]


@pytest.fixture
def old_python(tmp_path) -> Path:
    return make_program(tmp_path, 'python3.8',
                        'case "$*" in --version) echo Python 3.8.20;; *) exit 1;; esac')


@pytest.mark.parametrize('script', ['tools/install.sh', '.ci/run'])
def test_scripts_parse_and_are_executable(script):
    subprocess.run(['bash', '-n', str(ROOT / script)], check=True)
    assert os.access(ROOT / script, os.X_OK)


def test_help_and_unknown_option(tmp_path):
    assert '--with-ops' in install('--help').stdout
    assert_one_clear_line(install('--ops'), 'unknown option --ops')


def test_wrong_python(tmp_path, old_python):
    done = install(str(tmp_path / 'venv'), PYTHON=str(old_python))
    assert_one_clear_line(done, str(old_python), 'Python 3.8.20', '3.10 to 3.13')
    assert not (tmp_path / 'venv').exists()


def test_python_that_is_not_there(tmp_path):
    done = install(str(tmp_path / 'venv'), PYTHON=str(tmp_path / 'no-python'))
    assert_one_clear_line(done, 'no-python', 'is not a program')


def test_environment_of_the_wrong_python(tmp_path, old_python):
    (tmp_path / 'venv/bin').mkdir(parents=True)
    (tmp_path / 'venv/bin/python').symlink_to(old_python)
    assert_one_clear_line(install(str(tmp_path / 'venv')), 'venv', 'Python 3.8.20')


def test_folder_that_is_no_environment(tmp_path):
    (tmp_path / 'notes.txt').write_text('keep me')
    assert_one_clear_line(install(str(tmp_path)), 'is not a virtual environment')
    assert (tmp_path / 'notes.txt').read_text() == 'keep me'


def test_no_disk(tmp_path):
    make_program(tmp_path, 'df', 'echo header; echo dev 9999999 8951423 1048576 90% /')
    done = install(str(tmp_path / 'venv'), PATH=f'{tmp_path}:{os.environ["PATH"]}')
    assert_one_clear_line(done, 'not enough disk space', '3 GB needed', '1 GB free')
    assert not (tmp_path / 'venv').exists()


def test_no_network(tmp_path):
    venv = tmp_path / 'venv'
    builder = EnvBuilder(symlinks=True)
    builder.create(venv)
    # this environment's pip at hand: installing one takes longer than the test
    site = venv.glob('lib/python*/site-packages')
    origin = Path(pip.__file__).parents[1]
    for folder, part in product(site, [origin / 'pip', *origin.glob('pip-*.dist-info')]):
        (folder / part.name).symlink_to(part)
    done = install(
        str(venv), PIP_INDEX_URL='http://127.0.0.1:9/simple', PIP_EXTRA_INDEX_URL='',
        PIP_FIND_LINKS='', PIP_RETRIES='1', PIP_CONFIG_FILE=os.devnull)
    assert_one_clear_line(done, 'no network', 'install torch', str(venv / 'install.log'))
    assert 'Connection refused' in (venv / 'install.log').read_text()


@pytest.fixture(scope='module')
def wheel_file(tmp_path_factory) -> Path:
    """A wheel built from a copy of the checkout with stray files."""
    if importlib.util.find_spec('setuptools') is None:
        pytest.skip('setuptools is not installed')
    source, out = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('wheel')
    for name in ('mmpanseg', 'configs', 'tools', 'tests'):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns('.mim'))
    for name in ('pyproject.toml', 'setup.py', 'MANIFEST.in', 'README.md', 'LICENSE',
                 'model-index.yml'):
        shutil.copy(ROOT / name, source / name)
    for folder in ('mmpanseg', 'tools'):
        (source / folder / '__pycache__').mkdir(exist_ok=True)
        (source / folder / '__pycache__/stray.cpython-311.pyc').write_bytes(b'')
    done = subprocess.run(
        [sys.executable, '-c', 'import sys; from setuptools import build_meta; '
         'build_meta.build_wheel(sys.argv[1])', str(out)],
        cwd=source, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    path, = out.glob('*.whl')
    return path


@pytest.fixture(scope='module')
def wheel(wheel_file) -> set[str]:
    """Names of the files in the wheel."""
    with zipfile.ZipFile(wheel_file) as archive:
        return {name for name in archive.namelist() if '.dist-info/' not in name}


def files_of(folder: str) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob('*')
            if path.is_file() and '__pycache__' not in path.parts and '.mim' not in path.parts}


def test_wheel_holds_package_configs_and_tools(wheel):
    tools = {name for name in files_of('tools')
             if not name.startswith('tools/benchmark/') and name != 'tools/install.sh'}
    extra = {f'mmpanseg/.mim/{name}' for name in tools | files_of('configs')}
    assert wheel == files_of('mmpanseg') | extra | {'mmpanseg/.mim/model-index.yml'}
    assert 'mmpanseg/py.typed' in wheel


USE_CONFIG = '''
import sys
from mmengine.config import Config
from mmpanseg.hub.config_files import config_paths, find_configs, select_name
paths = config_paths(find_configs())
path = paths[select_name('mask2former_r50_8xb2-lsj-50e_coco-pan', paths)]
assert str(path).startswith(sys.argv[1]), path
cfg = Config.fromfile(path)
cfg.dump(sys.argv[2])
assert len(list(find_configs().glob('*/metafile.yml'))) == 4
'''


@pytest.mark.slow
def test_wheel_works_without_a_checkout(wheel_file, tmp_path):
    """The command, its verbs and the configs, from a folder that holds nothing but the wheel."""
    site = tmp_path / 'site'
    subprocess.run([sys.executable, '-m', 'pip', 'install', '-q', '--no-index', '--no-deps',
                    '--target', str(site), str(wheel_file)], check=True, timeout=300)
    env = {**os.environ, 'PYTHONPATH': str(site), 'MMPANSEG_CACHE': str(tmp_path / 'cache')}

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True,
                              timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    program = str(site / 'bin/mmpanseg')
    assert '  mmpanseg env' in run(program, '--help').splitlines()
    facts = json.loads(run(program, 'env', '--json'))
    assert facts['versions']['mmpanseg'] == __version__
    assert run(sys.executable, '-m', 'mmpanseg', '--version') == f'mmpanseg {__version__}\n'
    out = tmp_path / 'installed.py'
    run(sys.executable, '-c', USE_CONFIG, str(site / 'mmpanseg'), str(out))
    here = Config.fromfile(
        ROOT / 'configs/mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py')
    assert Config.fromfile(out).to_dict() == here.to_dict()
    (tmp_path / 'own.py').write_text(
        "_base_ = 'mmpanseg::mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'")
    run(sys.executable, '-c', 'import mmpanseg; from mmengine.config import Config; '
        'Config.fromfile("own.py").dump("complete.py")')
    assert Config.fromfile(tmp_path / 'complete.py').to_dict() == here.to_dict()


def test_imported_packages_are_dependencies():
    """Of the library, by its import statements; OpenCV is mmcv's dependency."""
    imported = set()
    for path in (ROOT / 'mmpanseg').rglob('*.py'):
        if '.mim' in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split('.')[0])
    names = {'PIL': 'pillow', 'yaml': 'pyyaml'}
    needed = {names.get(name, name) for name in imported} - {*sys.stdlib_module_names} - {
        'mmpanseg', 'cv2', 'mmengine', 'mmcv', 'mmdet'}
    listed = (ROOT / 'pyproject.toml').read_text().partition('\ndependencies = [')[2]
    listed = re.findall(r"'([a-z]+)", listed.partition(']')[0])
    # imported in functions that need them; safetensors is in the extra hf, tifffile in tiff,
    # gradio and what it brings in ui
    assert needed - {'safetensors', 'tifffile', 'pandas', 'supervision', 'IPython', 'gradio',
                     'fastapi', 'starlette', 'uvicorn'} == {*listed}

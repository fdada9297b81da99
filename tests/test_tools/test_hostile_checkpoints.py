"""Every way in x every kind of file that asks to run a command: nothing runs, one line says why."""
import runpy
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import mmdet
import numpy as np
import pytest
import torch
from mmdet.apis import DetInferencer, init_detector
from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from mmpanseg.apis import PanopticInferencer
from mmpanseg.checkpoints import CheckpointError, loading_policy, read_weights
from mmpanseg.checkpoints.safetensors_files import write_safetensors
from mmpanseg.engine import build_runner

from .. import forked

sys.path.insert(0, str(Path(__file__).parents[1] / 'test_checkpoints'))
from hostile import KINDS, write_hostile  # noqa: E402

BACKBONE = 'model.backbone.init_cfg.'
# the call after the tool's name; {0} is the config, {1} the checkpoint
TOOLS = {
    'test': '{0} {1} --work-dir out',
    'train, load_from': '{0} --work-dir out --cfg-options load_from={1} train_cfg.max_iters=1',
    'train, --resume FILE': '{0} --work-dir out --resume {1} --cfg-options train_cfg.max_iters=2',
    'train, last_checkpoint':
        '{0} --work-dir last --resume --cfg-options train_cfg.max_iters=2',
    'train, Pretrained': '{0} --work-dir out --cfg-options train_cfg.max_iters=1 '
                         f'{BACKBONE}type=Pretrained {BACKBONE}checkpoint={{1}} '
                         f'{BACKBONE}prefix=backbone.',
    'image_demo': 'image.png {0} {1} --device cpu',
    'analysis_tools/attention_maps': '{0} {1} --out-dir out',
    'analysis_tools/kmeans_assignments': '{0} {1} --out-dir out',
    'analysis_tools/query_consistency': '{0} {1} --num-images 1',
    'analysis_tools/query_preference': '{0} {1} --num-images 1',
    'analysis_tools/sweep_fusion': 'save {0} {1} out --num-images 1',
    'model_converters/convert': '{1} out.pth',
    'model_converters/export': '{1} out.pth --to mmdet',
    'publish_model': '{1} out'}
FUNCTIONS = {
    'PanopticInferencer(config, weights)': lambda config, path: PanopticInferencer(
        str(config), str(path), device='cpu', show_progress=False),
    'PanopticInferencer(weights)': lambda config, path: PanopticInferencer(
        weights=str(path), device='cpu', show_progress=False),
    'DetInferencer(config, weights)': lambda config, path: DetInferencer(
        str(config), str(path), device='cpu'),
    'DetInferencer(weights)': lambda config, path: DetInferencer(weights=str(path), device='cpu'),
    'init_detector': lambda config, path: init_detector(str(config), str(path), device='cpu'),
    'CheckpointLoader': lambda config, path: CheckpointLoader.load_checkpoint(str(path)),
    'read_weights': lambda config, path: read_weights(path)}
# without the policy's part for configs, these would execute the text in the file
WITHOUT_CONFIG = ('PanopticInferencer(weights)', 'DetInferencer(weights)')


@pytest.fixture(scope='module')
def content(tiny_config, tmp_path_factory):
    """What a training of two steps writes."""
    cfg = Config.fromfile(tiny_config)
    cfg.work_dir = str(tmp_path_factory.mktemp('training'))
    cfg.train_cfg.max_iters = 2
    cfg.default_hooks.checkpoint.interval = 2
    cfg.experiment_name = 'hostile'
    cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
    build_runner(cfg, 'none').train()
    return torch.load(Path(cfg.work_dir, 'iter_2.pth'), weights_only=False)


@pytest.fixture
def enter(repo_root, tiny_config, tmp_path, monkeypatch):
    """Enters by a name with a file; gives the text of the error, '' without one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('MMPANSEG_TRUST_CHECKPOINT', raising=False)
    cv2.imwrite('image.png', np.zeros((40, 50, 3), np.uint8))

    def enter(name, path):
        if name in FUNCTIONS:
            try:
                FUNCTIONS[name](tiny_config, path)
            except CheckpointError as error:
                return str(error)
            return ''
        (tmp_path / 'last').mkdir(exist_ok=True)
        (tmp_path / 'last/last_checkpoint').write_text(str(path))
        tool = repo_root / f'tools/{name.split(",")[0]}.py'
        line = TOOLS[name].format(tiny_config, path).split()
        monkeypatch.setattr(sys, 'argv', [str(tool), *line])
        monkeypatch.setattr(sys, 'path', [str(tool.parent), *sys.path])
        try:
            runpy.run_path(str(tool), run_name='__main__')
        except SystemExit as end:
            assert isinstance(end.code, str)  # sys.exit prints it and ends with status 1
            assert end.code.startswith(f'{tool.name}: error: ')
            return end.code
        return ''
    return enter


def check(enter, content, name, kind, folder):
    path, mark = write_hostile(content, kind, folder)
    text = enter(name, path)
    assert not mark.exists()
    assert len(text.splitlines()) <= 1
    if kind == 'config':
        if name in WITHOUT_CONFIG:
            assert f'{path}: the config text in it is no literal data (line 1: import os)' in text
            assert 'name a config' in text
    elif kind == 'pkl' and 'code base' in text:
        assert str(path) in text  # refused by its ending
    else:
        assert f'{path}: it calls posix.system, which no file of weights needs' in text
        assert 'add --trust-checkpoint or set MMPANSEG_TRUST_CHECKPOINT=1' in text


NAMES = (*TOOLS, *FUNCTIONS)


@pytest.mark.parametrize('index', range(len(NAMES)), ids=NAMES)
def test_each_way_in(enter, content, tmp_path, index):
    """One kind for each way; test_matrix has all."""
    kinds = KINDS[:4] if NAMES[index] not in WITHOUT_CONFIG else KINDS[4:]
    check(enter, content, NAMES[index], kinds[index % len(kinds)], tmp_path / 'files')


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('name', NAMES)
def test_matrix(enter, content, tmp_path, name, kind):
    check(enter, content, name, kind, tmp_path / 'files')


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('line', [
    'tools/test.py {0} {1}', 'tools/analysis_tools/tiled_vs_whole.py {0} {1} image.png',
    '{mmdet}/.mim/tools/test.py {0} {1}'])
def test_processes(repo_root, tiny_config, content, tmp_path, line, kind):
    """As a user starts them, mmdet's own tool included, which knows no UsageError."""
    path, mark = write_hostile(content, kind, tmp_path / 'files')
    cv2.imwrite(str(tmp_path / 'image.png'), np.zeros((40, 50, 3), np.uint8))
    line = line.format(tiny_config, path, mmdet=Path(mmdet.__file__).parent)
    script, *arguments = line.split()
    # mmdet's tools import operators of mmcv, which mmpanseg replaces where they are not compiled
    program = tmp_path / 'program.py'
    program.write_text('import mmpanseg, runpy\n'
                       f'runpy.run_path({str(repo_root / script)!r}, None, "__main__")')
    command = [program] if '.mim' in script else [repo_root / script]
    if 'tiled' in script and kind != KINDS[0]:  # one kind is enough for workers that are spawned
        command = forked.with_forked_workers(*command)
    done = forked.run([*command, *arguments], cwd=tmp_path)
    assert not mark.exists()
    if kind == 'config':
        assert done.returncode == 0, done.stderr
        return
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and str(path) in last, done.stderr
    assert 'it calls posix.system' in last or 'code base' in last
    assert ('Traceback' in done.stderr) == ('.mim' in line)


@pytest.fixture
def served(tmp_path):
    """A folder, and its URL on this machine."""
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    folder = tmp_path / 'served'
    folder.mkdir()
    with ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f'http://127.0.0.1:{server.server_port}'
        server.shutdown()
        thread.join()


def test_downloads_and_other_schemes(content, served, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path))
    folder, url = served
    path, mark = write_hostile(content, 'zip', folder)
    (tmp_path / 'open_mmlab.json').write_text(
        f'{{"file": "served/x.pth", "url": "{url}/x.pth"}}')
    checkpoint = sys.modules['mmengine.runner.checkpoint']
    for listed in ('get_torchvision_models', 'get_mmcls_models'):
        monkeypatch.setattr(checkpoint, listed, lambda: dict(url=f'{url}/x.pth'))

    class Store:
        """Files of another storage are known by their bytes only."""

        def get(self, name):
            return path.read_bytes()

    monkeypatch.setattr(checkpoint, 'get_file_backend', lambda *args, **kwargs: Store())
    for name in (f'{url}/x.pth', 'openmmlab://file', 'openmmlab://url', 'torchvision://url',
                 'mmcls://url', 's3://bucket/x.pth'):
        with pytest.raises(CheckpointError, match='x.pth: it calls posix.system') as error:
            CheckpointLoader.load_checkpoint(name)
        assert '\n' not in str(error.value)
    assert not mark.exists()
    torch.save(content['state_dict'], folder / 'good.pth')
    for _ in range(2):  # the second time from the cache
        loaded = CheckpointLoader.load_checkpoint(f'{url}/good.pth')
        assert loaded.keys() == content['state_dict'].keys()
    assert (tmp_path / 'cache/hub/checkpoints/good.pth').is_file()


@pytest.fixture
def logged(monkeypatch):
    """Warnings in the log."""
    texts = []
    monkeypatch.setattr(loading_policy, 'print_log', lambda text, logger, level: texts.append(text))
    return texts


@pytest.mark.parametrize('name', ['image_demo', 'model_converters/convert', 'train, load_from'])
def test_trusted_files(enter, content, tmp_path, name, monkeypatch, logged):
    path, mark = write_hostile(content, 'zip', tmp_path / 'files')
    monkeypatch.setitem(TOOLS, name, TOOLS[name].replace('{1} ', '{1} --trust-checkpoint ', 1)
                        if name != 'train, load_from' else f'{TOOLS[name]} --trust-checkpoint')
    monkeypatch.setenv('MMPANSEG_TRUST_CHECKPOINT', '')  # restored afterwards
    assert enter(name, path) == ''
    assert mark.exists()
    [text] = [text for text in logged if 'It is read all the same' in text]
    assert text.startswith(f'{path}: it calls posix.system')


@pytest.mark.parametrize('value', ['1', '0'])
def test_trust_by_the_environment(enter, content, tmp_path, value, monkeypatch):
    monkeypatch.setenv('MMPANSEG_TRUST_CHECKPOINT', value)
    path, mark = write_hostile(content, 'optimizer', tmp_path / 'files')
    assert bool(enter('init_detector', path)) == (value == '0')
    assert mark.exists() == (value == '1')
    path, mark = write_hostile(content, 'config', tmp_path / 'more')
    assert bool(enter('PanopticInferencer(weights)', path)) == (value == '0')
    assert mark.exists() == (value == '1')


def test_harmless_files_are_not_read_otherwise_when_trusted(content, tmp_path, monkeypatch):
    """The option is for what is refused; everything else is read as data."""
    monkeypatch.setenv('MMPANSEG_TRUST_CHECKPOINT', '1')
    monkeypatch.setattr(torch, 'load', None)
    torch.save(content, tmp_path / 'x.pth')
    assert CheckpointLoader.load_checkpoint(str(tmp_path / 'x.pth')).keys() == content.keys()


# these need another system, or the state of a training
NOT_FOR_PUBLISHED = ('analysis_tools/attention_maps', 'analysis_tools/kmeans_assignments',
                     'train, --resume FILE', 'train, last_checkpoint')
FAST = ('image_demo', 'model_converters/convert', 'PanopticInferencer(weights)', 'init_detector')


@pytest.mark.parametrize('name', [
    pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in NAMES
    if name not in NOT_FOR_PUBLISHED])
def test_published_safetensors_are_read(enter, tool, content, tmp_path, name, monkeypatch):
    torch.save(content, tmp_path / 'x.pth')
    tool('publish_model', tmp_path / 'x.pth', tmp_path / 'model', '--format', 'safetensors')
    [path] = tmp_path.glob('model_*.safetensors')
    loaded = []
    original = torch.nn.Module.eval
    monkeypatch.setattr(torch.nn.Module, 'eval', lambda self: loaded.append(self) or original(self))
    assert enter(name, path) == ''
    models = [part for part in loaded if hasattr(part, 'panoptic_head')]
    assert models or name not in FUNCTIONS or name in ('CheckpointLoader', 'read_weights')
    if models and name in FUNCTIONS:
        state = models[0].state_dict()
        assert all(torch.equal(value, state[key]) for key, value in content['state_dict'].items())
        assert models[0].dataset_meta['classes'] == ('ball', 'sky', 'ground')
    for written in tmp_path.glob('out*.pth'):  # of convert, export and publish
        again = torch.load(written, weights_only=True)
        assert all(torch.equal(again['state_dict'][key], value) for key, value in content[
            'state_dict'].items() if key in again['state_dict'])
        assert again['meta']['dataset_meta']['classes'] == ('ball', 'sky', 'ground')


def test_safetensors_of_another_code_base(enter, tmp_path):
    path = tmp_path / 'model.safetensors'
    write_safetensors({
        'model.pixel_level_module.encoder.x': torch.ones(1),
        'model.transformer_module.queries_embedder.weight': torch.ones(1)}, path)
    text = enter('init_detector', path)
    assert 'the checkpoint has the format of' in text and 'convert.py' in text

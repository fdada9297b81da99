"""A tiny model with many segments, as files, and what the server makes of it."""
import os
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmpanseg.registry import MODELS
from mmpanseg.ui.limits import Limits
from mmpanseg.ui.model_shelf import ModelShelf, given_models
from mmpanseg.ui.session import Session
from mmpanseg.ui.workbench import Settings, Workbench

from ..small_models import spread_queries

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / 'tests/data'
META = dict(thing_classes=('cat', 'dog'), stuff_classes=('grass', 'sky'),
            classes=('cat', 'dog', 'grass', 'sky'),
            palette=[(200, 60, 60), (60, 60, 200), (60, 160, 60), (90, 150, 220)])
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(192, 144), keep_ratio=True),
            dict(type='mmpanseg.LoadPanopticMap'), dict(type='mmpanseg.PackPanopticInputs')]


@pytest.fixture(scope='session')
def model_files(tmp_path_factory):
    """Config and checkpoint of a tiny model by name: 'mask2former' or 'kmax_deeplab'."""
    folder = tmp_path_factory.mktemp('models')

    def make(name):
        path = folder / f'{name}.py'
        if not path.exists():
            model = runpy.run_path(str(DATA / 'golden.py'))['model_config'](name)
            model['test_cfg'] = dict(panoptic_on=True)
            if name == 'mask2former':
                model['panoptic_head']['num_queries'] = 24
            cfg = Config(dict(default_scope='mmdet', model=model, test_dataloader=dict(
                dataset=dict(type='mmpanseg.PanopticDataset', metainfo=META, test_mode=True,
                             ann_file='none.json', pipeline=PIPELINE))))
            init_default_scope('mmdet')
            torch.manual_seed(3)
            built = MODELS.build(cfg.model)
            if name == 'mask2former':
                spread_queries(built)
                built.panoptic_head.cls_embed.weight.data.mul_(0.15)  # scores of all sizes
            else:
                built.load_state_dict(torch.load(
                    DATA / f'checkpoints/{name}.pth', weights_only=True).get('state_dict'), False)
            cfg.dump(path)
            torch.save(dict(state_dict=built.state_dict(), meta=dict(dataset_meta=META)),
                       folder / f'{name}.pth')
        return f'{path},{folder / f"{name}.pth"}'
    return make


@pytest.fixture(scope='session')
def picture():
    """PNG of 120 x 160 pixels."""
    rng = np.random.default_rng(0)
    pixels = cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (160, 120),
                        interpolation=cv2.INTER_CUBIC)
    return cv2.imencode('.png', pixels)[1].tobytes()


@pytest.fixture(scope='session')
def choices(model_files):
    return given_models([model_files('mask2former'), model_files('kmax_deeplab')])


@pytest.fixture(scope='session')
def shelf(choices):
    return ModelShelf(choices, device='cpu')


@pytest.fixture
def bench(shelf):
    return Workbench(shelf, Limits())


@pytest.fixture
def settings(choices):
    """The controls: the tiny Mask2Former with low thresholds."""
    return Settings(choices[0].name, 'panoptic', 'pixelwise', (0.0, 0.3, True, True))


@pytest.fixture
def shown(bench, settings, picture):
    """A page that shows a predicted image."""
    session = Session()
    *_, last = bench.predict_image(session, settings, picture, 'a cat.png')
    assert last['state'] == 'done'
    return session, last



# records every address outside of this machine that the server looks up or connects to
SPY = """
import os, sys
def spy(event, arguments):
    if event in ('socket.connect', 'socket.getaddrinfo', 'socket.sendto'):
        host = arguments[0] if event == 'socket.getaddrinfo' else arguments[1]
        host = host[0] if isinstance(host, tuple) else host
        if host not in (None, '', '127.0.0.1', 'localhost', '::1', '0.0.0.0', b'localhost'):
            with open(os.environ['SPY_LOG'], 'a') as log:
                log.write(f'{event} {host}\\n')
sys.addaudithook(spy)
"""


class Served:
    """A server in a process of its own.

    Args:
        folder: for its temporary and other files.
        arguments: of ``mmpanseg ui``.
    """

    def __init__(self, folder, *arguments):
        self.temporary, self.spied = folder / 'tmp', folder / 'spied.txt'
        self.temporary.mkdir(parents=True)
        (folder / 'sitecustomize.py').write_text(SPY)
        self.spied.touch()
        path = f'{ROOT}{os.pathsep}{folder}'
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'mmpanseg', 'ui', '--offline', '--device', 'cpu', *arguments],
            env={**os.environ, 'PYTHONPATH': path, 'TMPDIR': str(self.temporary),
                 'SPY_LOG': str(self.spied), 'MMPANSEG_CACHE': str(folder / 'cache')},
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.said = []
        while True:
            line = self.process.stdout.readline()
            self.said.append(line.strip())
            if found := re.search(r'http://\S+', line):
                self.address = found[0]
                return
            if not line:
                raise RuntimeError(f'no server: {self.said}')

    def files(self):
        """Files that are in the temporary folder of the server now."""
        return [path for path in self.temporary.rglob('*') if path.is_file()]

    def end(self, number=signal.SIGINT):
        """End the server; returns its exit status."""
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=60)
        self.said += rest.splitlines()
        return self.process.returncode


@pytest.fixture(scope='session')
def report_folders(tmp_path_factory):
    """Two folders with a page whose script tells its title to the page around it."""
    parent = tmp_path_factory.mktemp('reports')
    for name in ('first', 'second'):
        (parent / name).mkdir()
        (parent / name / 'data.js').write_text('parent.postMessage(document.title, "*");')
        (parent / name / 'index.html').write_text(
            f'<!DOCTYPE html><title>{name}</title><h1>{name}</h1><script src="data.js"></script>')
    return parent


@pytest.fixture(scope='session')
def served(model_files, report_folders, tmp_path_factory):
    """A server with two tiny models and two reports."""
    pytest.importorskip('gradio', reason='gradio is not installed')
    server = Served(tmp_path_factory.mktemp('served'), '--port', '0', '--max-mb', '1',
                    '--model', model_files('mask2former'), model_files('kmax_deeplab'),
                    '--reports', str(report_folders))
    yield server
    if server.process.poll() is None:
        server.end()

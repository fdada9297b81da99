"""A server on this machine that misbehaves on demand, and a tiny model that it publishes."""
import hashlib
import importlib.util
import json
import pickle
import pprint
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

import mmpanseg
from mmpanseg.hub import config_files, download, model_index
from mmpanseg.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
NAME = 'mask2former_r18_1xb1-tiny_cityscapes-panoptic'
SHORT = 'mask2former-r18-cityscapes-panoptic'
# labels of Cityscapes in the order of their training ids
TRAIN_IDS = ('road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light',
             'traffic sign', 'vegetation', 'terrain', 'sky', 'person', 'rider', 'car', 'truck',
             'bus', 'train', 'motorcycle', 'bicycle')


class Server:
    """Serves files by path, and answers as :attr:`faults` says, one entry per request.

    Faults: a status such as 404; 'page' (a page in HTML), 'page as file', 'cut' (the connection
    ends after half of the rest), 'stall' (no data after half of the rest).
    """

    def __init__(self):
        self.files, self.faults, self.requests, self.etags = {}, [], [], True
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def log_message(self, *args):
                pass

            def do_GET(self):
                outer.answer(self)

        self._server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *args: None  # clients that have enough
        self.url = f'http://127.0.0.1:{self._server.server_port}'
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02, ))
        self._thread.start()

    def close(self):
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, handler):
        handler.close_connection = True
        self.requests.append((handler.path, handler.headers.get('Range')))
        fault = self.faults.pop(0) if self.faults else None
        data = self.files.get(handler.path)
        if data is None and fault is None:
            fault = 404
        if isinstance(fault, int):
            handler.send_error(fault)
            return
        kind = 'application/octet-stream'
        if fault in ('page', 'page as file'):
            data = b'<!DOCTYPE html><html>Quota exceeded</html>'
            kind = 'text/html; charset=utf-8' if fault == 'page' else kind
        etag, start = f'"{hashlib.md5(data).hexdigest()}"', 0
        wanted = re.fullmatch(r'bytes=(\d+)-', handler.headers.get('Range') or '')
        if wanted and handler.headers.get('If-Range') == etag:
            start = int(wanted[1])
            handler.send_response(206)
            handler.send_header('Content-Range', f'bytes {start}-{len(data) - 1}/{len(data)}')
        else:
            handler.send_response(200)
        if self.etags:
            handler.send_header('ETag', etag)
        handler.send_header('Content-Type', kind)
        handler.send_header('Content-Length', str(len(data) - start))
        handler.end_headers()
        rest = data[start:]
        handler.wfile.write(rest[:len(rest) // 2])
        if fault == 'stall':
            handler.wfile.flush()
            self.released.wait(10)
        if fault not in ('cut', 'stall'):
            handler.wfile.write(rest[len(rest) // 2:])


@pytest.fixture
def server(monkeypatch):
    """A :class:`Server`; downloads neither wait long nor use a proxy of this machine."""
    for name in ('http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY', 'all_proxy',
                 'ALL_PROXY', download.MIRROR_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, 'PAUSE', 0.0)
    monkeypatch.setattr(download, 'STALLED', 5.0)
    started = Server()
    yield started
    started.close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setenv('MMPANSEG_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


@pytest.fixture(scope='session')
def golden_models():
    """The module ``tests/data/golden.py``."""
    spec = importlib.util.spec_from_file_location('golden_models', ROOT / 'tests/data/golden.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ours -> detectron2, of a Mask2Former with a ResNet
_PIXEL, _DECODER = r'panoptic_head\.pixel_decoder\.', r'panoptic_head\.transformer_decoder\.'
_LAYER = _DECODER + r'layers\.(\d)\.'
_THEIRS, _QUERY = 'sem_seg_head.pixel_decoder.', 'sem_seg_head.predictor.'
_CROSS, _SELF, _FFN = (
    rf'{_QUERY}transformer_{part}_layers.\1.'
    for part in ('cross_attention', 'self_attention', 'ffn'))
_NAMES = [
    (r'backbone\.conv1\.', 'backbone.stem.conv1.'),
    (r'backbone\.bn1\.', 'backbone.stem.conv1.norm.'),
    *((rf'backbone\.layer{n}\.(\d)\.{ours}\.', rf'backbone.res{n + 1}.\1.{theirs}.')
      for n in (1, 2, 3, 4) for ours, theirs in (
          ('conv1', 'conv1'), ('conv2', 'conv2'), ('bn1', 'conv1.norm'), ('bn2', 'conv2.norm'),
          (r'downsample\.0', 'shortcut'), (r'downsample\.1', 'shortcut.norm'))),
    (_PIXEL + r'input_convs\.(\d)\.conv\.', _THEIRS + r'input_proj.\1.0.'),
    (_PIXEL + r'input_convs\.(\d)\.gn\.', _THEIRS + r'input_proj.\1.1.'),
    (_PIXEL + r'level_encoding\.weight', _THEIRS + 'transformer.level_embed'),
    *((_PIXEL + rf'encoder\.layers\.(\d)\.{ours}\.',
       _THEIRS + rf'transformer.encoder.layers.\1.{theirs}.')
      for ours, theirs in (
          ('self_attn', 'self_attn'), (r'norms\.0', 'norm1'), (r'norms\.1', 'norm2'),
          (r'ffn\.layers\.0\.0', 'linear1'), (r'ffn\.layers\.1', 'linear2'))),
    (_PIXEL + r'lateral_convs\.0\.conv\.', _THEIRS + 'adapter_1.'),
    (_PIXEL + r'lateral_convs\.0\.gn\.', _THEIRS + 'adapter_1.norm.'),
    (_PIXEL + r'output_convs\.0\.conv\.', _THEIRS + 'layer_1.'),
    (_PIXEL + r'output_convs\.0\.gn\.', _THEIRS + 'layer_1.norm.'),
    (_PIXEL + r'mask_feature\.', _THEIRS + 'mask_features.'),
    (_LAYER + r'cross_attn\.attn\.', _CROSS + 'multihead_attn.'),
    (_LAYER + r'self_attn\.attn\.', _SELF + 'self_attn.'),
    (_LAYER + r'norms\.0\.', _CROSS + 'norm.'), (_LAYER + r'norms\.1\.', _SELF + 'norm.'),
    (_LAYER + r'norms\.2\.', _FFN + 'norm.'),
    (_LAYER + r'ffn\.layers\.0\.0\.', _FFN + 'linear1.'),
    (_LAYER + r'ffn\.layers\.1\.', _FFN + 'linear2.'),
    (_DECODER + r'post_norm\.', _QUERY + 'decoder_norm.'),
    (r'panoptic_head\.cls_embed\.', _QUERY + 'class_embed.'),
    *((rf'panoptic_head\.mask_embed\.{2 * n}\.', f'{_QUERY}mask_embed.layers.{n}.')
      for n in range(3)),
    (r'panoptic_head\.decoder_input_projs\.', _QUERY + 'input_proj.'),
    (r'panoptic_head\.(query_feat|query_embed|level_embed)\.', _QUERY + r'\1.')]


def detectron2_weights(state_dict, classes):
    """Arrays under the names of detectron2, with class rows in the order of training ids."""
    arrays = {}
    for key, value in state_dict.items():
        if key.endswith('num_batches_tracked'):
            continue
        if '.cls_embed.' in key:
            rows = [*(classes.index(name) for name in TRAIN_IDS), len(classes)]
            value = value[rows]
        pattern, name = next(pair for pair in _NAMES if re.match(pair[0], key))
        arrays[re.sub(pattern, name, key)] = value.numpy()
    return arrays


@pytest.fixture(scope='session')
def tiny(golden_models):
    """A tiny Mask2Former of Cityscapes: config, weights, the file that its authors published."""
    from mmpanseg.datasets.cityscapes import CityscapesPanopticDataset

    model = dict(golden_models.model_config('mask2former'), num_things_classes=8,
                 num_stuff_classes=11)
    torch.manual_seed(0)
    init_default_scope('mmdet')  # before the fixture that does it for each test
    weights = MODELS.build(ConfigDict(model)).state_dict()
    classes = CityscapesPanopticDataset.METAINFO['classes']
    content = dict(model=detectron2_weights(weights, classes), __author__='third parties')
    return SimpleNamespace(
        model=model, weights=weights, published=pickle.dumps(content),
        config=("_base_ = ['../_base_/datasets/cityscapes_panoptic.py',\n"
                "          '../_base_/default_runtime.py']\n"
                f'model = {pprint.pformat(model, sort_dicts=False)}\n'))


@pytest.fixture
def train_ids():
    """Classes of Cityscapes in the order of their training ids."""
    return TRAIN_IDS


@pytest.fixture
def package(tmp_path, monkeypatch, tiny, server):
    """An installed package with the tiny model in its metafile, whose weights the server has."""
    folder = tmp_path / 'package/.mim/configs'
    (folder / 'mask2former').mkdir(parents=True)
    (folder / '_base_').symlink_to(ROOT / 'configs/_base_')
    (folder / f'mask2former/{NAME}.py').write_text(tiny.config)
    (folder / 'parameters.yml').write_text('{}\n')
    server.files['/zoo/model_final.pkl'] = tiny.published
    release = {'Short Name': SHORT, 'Weights': f'{server.url}/zoo/model_final.pkl',
               'License': 'CC-BY-NC-4.0', 'MD5': hashlib.md5(tiny.published).hexdigest()[:6]}
    entry = {'Name': NAME, 'In Collection': 'Mask2Former',
             'Config': f'configs/mask2former/{NAME}.py', 'Metadata': dict(Parameters=1),
             'Results': [dict(Metrics=dict(PQ=1.5))], 'Converted From': release}

    def write(**changes):
        release.update(changes)
        text = json.dumps(dict(Collections=[dict(Name='Mask2Former')], Models=[entry]))
        (folder / 'mask2former/metafile.yml').write_text(text)
        clear()

    def clear():
        model_index._read_models.cache_clear()
        config_files.config_paths.cache_clear()

    monkeypatch.setattr(mmpanseg, '__file__', str(tmp_path / 'package/__init__.py'))
    write()
    yield SimpleNamespace(folder=folder, write=write)
    clear()

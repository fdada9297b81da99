"""Published checkpoints that nobody converted: refused with the command that converts them."""
import pickle
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
import yaml
from mmengine.config import Config

from mmpanseg.analysis.trained_model import load_trained
from mmpanseg.apis import PanopticInferencer
from mmpanseg.checkpoints import CheckpointError
from mmpanseg.checkpoints.sources import foreign_file, foreign_format
from mmpanseg.engine import UsageError, build_runner, check_checkpoint, load_config

COMMAND = 'python tools/model_converters/convert.py {} {}_converted.pth --config {}'
# released checkpoints, by their names and shapes
MANIFESTS = {
    'facebookresearch/Mask2Former': 'mask2former/manifest_ade20k_instance_R50.json',
    'zhiqi-li/Panoptic-SegFormer': 'panoptic_segformer/manifest_r50.json',
    'bytedance/kmax-deeplab': 'kmax_deeplab/manifest_r50.json'}


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


def with_inferencer(config, path):
    PanopticInferencer(str(config), path, device='cpu', show_progress=False)


def with_analysis(config, path):
    class Options:
        checkpoint, cfg_options = path, None
    Options.config = str(config)
    load_trained(Options)


def with_test(config, path):
    cfg = load_config(str(config))
    cfg.work_dir = str(config.parent / 'work_dir')
    cfg.load_from = check_checkpoint(path, str(config))
    build_runner(cfg, 'none').test()


WAYS = pytest.mark.parametrize('load', [with_inferencer, with_analysis, with_test])


@WAYS
@pytest.mark.parametrize('title, manifest', MANIFESTS.items())
def test_names_of_other_code_bases(load, tiny_config, published, tmp_path, title, manifest):
    path = tmp_path / 'released.pth'
    names = published(manifest)
    torch.save(dict(state_dict={name: torch.zeros(1) for name in names}), path)
    with pytest.raises((CheckpointError, UsageError), match=f'has the format of {title}') as error:
        load(tiny_config, str(path))
    assert 'python tools/model_converters/convert.py ' in str(error.value)
    if load is with_test:
        assert COMMAND.format(path, 'released', tiny_config) in str(error.value)


@WAYS
def test_pickles_of_detectron2(load, tiny_config, served, tmp_path):
    folder, url = served
    content = dict(model={'sem_seg_head.predictor.query_feat.weight': np.zeros((1, 1))})
    (folder / 'model_final.pkl').write_bytes(pickle.dumps(content))
    path = str(folder / 'model_final.pkl')
    with pytest.raises((CheckpointError, UsageError), match='.pkl file of another') as error:
        load(tiny_config, path)
    assert 'convert.py ' + path in str(error.value)
    with pytest.raises((CheckpointError, UsageError), match='.pkl file of another') as error:
        load(tiny_config, f'{url}/model_final.pkl')
    assert f'download it (wget {url}/model_final.pkl)' in str(error.value)
    assert 'convert.py model_final.pkl model_final_converted.pth' in str(error.value)


def test_download_by_name(tiny_config, served, published, monkeypatch, tmp_path):
    """A URL of a .pth, whose names are known once it is there."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    folder, url = served
    names = published(MANIFESTS['zhiqi-li/Panoptic-SegFormer'])
    torch.save(dict(state_dict={name: torch.zeros(1) for name in names}), folder / 'r50_2x.pth')
    with pytest.raises(CheckpointError, match='has the format of zhiqi-li'):
        with_inferencer(tiny_config, f'{url}/r50_2x.pth')
    with pytest.raises(UsageError, match=f'wget {url}/r50_2x.pth'):
        with_test(tiny_config, f'{url}/r50_2x.pth')


def test_own_names_are_not_foreign(golden, tiny_config):
    from mmpanseg.analysis import build_on_meta
    cfg = Config.fromfile(tiny_config)
    names = build_on_meta(cfg.model).state_dict()
    assert foreign_format(names) == ''
    older = [name.replace('cross_attn', 'attentions.0') for name in names]  # mmdetection 2.x
    assert 'mmdetection 3.x (or 2.x)' in foreign_format(older)
    assert foreign_format(['conv.weight']) == foreign_file('work_dirs/a/epoch_1.pth') == ''


def test_every_published_file_is_refused_or_known(repo_root):
    """What the metafiles are converted from: known by its ending, or by its names above."""
    found = set()
    for path in repo_root.glob('configs/*/metafile.yml'):
        for model in yaml.safe_load(path.read_text())['Models']:
            weights = model.get('Converted From', {}).get('Weights')
            if weights is None or 'drive.google.com' in weights:
                continue
            if foreign_file(weights):
                found.add('.pkl')
            else:
                assert weights.startswith('https://github.com/zhiqi-li/Panoptic-SegFormer/releases')
                found.add('.pth')
    assert found == {'.pkl', '.pth'}

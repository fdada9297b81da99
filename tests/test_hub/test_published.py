"""Published weights by name: downloaded once, checked, converted, kept; licenses; the cache."""
import hashlib
import json
import pickle
import threading

import pytest
import torch

from mmpanseg.checkpoints.weight_files import read_checkpoint
from mmpanseg.engine import UsageError
from mmpanseg.hub import list_models, resolve_model
from mmpanseg.hub.published import KEEP_VARIABLE

# the model of the fixture `package`
NAME = 'mask2former_r18_1xb1-tiny_cityscapes-panoptic'
SHORT = 'mask2former-r18-cityscapes-panoptic'
pytestmark = pytest.mark.usefixtures('package')


@pytest.fixture
def paths(cache):
    return cache / f'weights/{SHORT}.safetensors', cache / f'downloads/{SHORT}/model_final.pkl'


def check_weights(path, tiny):
    content = read_checkpoint(path)
    assert set(content['state_dict']) == set(tiny.weights)
    for key, value in content['state_dict'].items():
        assert torch.equal(value, tiny.weights[key]), key
    meta = content['meta']
    assert meta['source'] == 'mask2former' and len(meta['dataset_meta']['classes']) == 19
    assert meta['dataset_meta']['classes'][:2] == ('person', 'rider')
    assert meta['image_settings']['model.data_preprocessor.mean'] == [123.675, 116.28, 103.53]


def test_from_the_server_to_the_model(server, tiny, paths, capsys):
    found = resolve_model(SHORT)
    assert (found.name, found.weights, found.license) == (SHORT, str(paths[0]), 'CC-BY-NC-4.0')
    assert found.cfg.model.num_things_classes == 8
    check_weights(paths[0], tiny)
    err = capsys.readouterr().err.splitlines()
    assert err[0] == (f'{SHORT}: weights of the authors of Mask2Former, license CC-BY-NC-4.0, no '
                      f'commercial use ({server.url}/zoo/model_final.pkl)')
    assert err[1].startswith('downloading from 127.0.0.1') and err[2] == f'{SHORT}: converting'
    assert not paths[1].parent.exists()  # the original
    record = json.loads(paths[0].with_suffix('.json').read_text())
    assert record == dict(
        license_shown='CC-BY-NC-4.0', license='CC-BY-NC-4.0', size=len(tiny.published),
        url=f'{server.url}/zoo/model_final.pkl', md5=hashlib.md5(tiny.published).hexdigest(),
        sha256=hashlib.sha256(tiny.published).hexdigest())
    # the second time
    assert list_models(SHORT)[0].by_name == 'cached'
    assert resolve_model(SHORT, offline=True).weights == resolve_model(SHORT).weights
    assert len(server.requests) == 1 and capsys.readouterr().err == ''


def test_mirror(server, tiny, package, paths, monkeypatch):
    package.write(Weights='https://weights.test/zoo/model_final.pkl')
    server.files = {'/pub/weights.test/zoo/model_final.pkl': tiny.published}
    monkeypatch.setenv('MMPANSEG_MIRROR', f'{server.url}/pub')
    resolve_model(SHORT)
    check_weights(paths[0], tiny)


def test_file_put_there_by_hand(server, tiny, paths):
    paths[1].parent.mkdir(parents=True)
    paths[1].write_bytes(tiny.published[:-1])
    with pytest.raises(UsageError, match=f'{paths[1]}: its MD5 begins with .*; remove it'):
        resolve_model(SHORT, offline=True)
    paths[1].write_bytes(tiny.published)
    resolve_model(SHORT, offline=True)
    check_weights(paths[0], tiny)
    assert paths[1].is_file() and not server.requests


def test_original_is_kept_on_demand(tiny, paths, monkeypatch):
    monkeypatch.setenv(KEEP_VARIABLE, '1')
    resolve_model(SHORT)
    assert paths[1].read_bytes() == tiny.published


def test_offline_without_a_copy(server, paths):
    with pytest.raises(UsageError) as error:
        resolve_model(SHORT, offline=True)
    assert str(error.value) == (
        f'{SHORT} is not in the cache ({paths[0]}): omit --offline, or put the file of '
        f'{server.url}/zoo/model_final.pkl at {paths[1]}')
    assert not server.requests


@pytest.mark.parametrize(('fault', 'text'), [
    (404, 'answers 404'), ('page', 'a page instead'), ('page as file', 'its MD5 begins with')])
def test_failed_downloads_leave_nothing(server, paths, fault, text):
    server.faults = [fault]
    with pytest.raises(UsageError, match=text):
        resolve_model(SHORT)
    assert not paths[0].exists() and not list(paths[1].parent.iterdir())


def test_file_of_another_model(server, tiny, package, paths):
    content = pickle.loads(tiny.published)
    content['model']['sem_seg_head.predictor.query_feat.weight'] = torch.zeros(5, 16).numpy()
    server.files['/zoo/model_final.pkl'] = pickle.dumps(content)
    package.write(MD5='')
    with pytest.raises(UsageError, match=r'not one of this config: .*query_feat.*is \[5, 16\], the '
                       r'model has \[8, 16\].*; nothing is kept') as error:
        resolve_model(SHORT)
    assert str(error.value).startswith(f'{server.url}/zoo/model_final.pkl: ')
    assert not paths[0].exists() and not list(paths[1].parent.iterdir())
    server.files['/zoo/model_final.pkl'] = tiny.published[:1000]
    with pytest.raises(UsageError, match='not a checkpoint, or not all of one'):
        resolve_model(SHORT)
    assert not paths[0].exists() and not list(paths[1].parent.iterdir())


def test_published_file_that_changed(server, tiny, package, paths):
    resolve_model(SHORT)
    paths[0].unlink()
    package.write(MD5='')
    server.files['/zoo/model_final.pkl'] = pickle.dumps(pickle.loads(tiny.published), protocol=2)
    with pytest.raises(UsageError, match='its SHA-256 begins with'):
        resolve_model(SHORT)


def test_two_at_once(server, tiny, paths, capsys):
    found, server.faults = [], ['stall']
    threads = [threading.Thread(target=lambda: found.append(resolve_model(SHORT).weights))
               for _ in range(2)]
    threads[0].start()
    while not server.requests:
        threads[0].join(0.05)
    threads[1].start()
    threads[1].join(0.3)
    server.released.set()
    for thread in threads:
        thread.join()
    assert found == [str(paths[0])] * 2
    check_weights(paths[0], tiny)
    err = capsys.readouterr().err
    assert err.count('converting') == 1
    assert f'{SHORT}: waiting for another process that downloads it' in err


def test_license_is_shown_once_also_for_a_copy(tiny, paths, cache, capsys, monkeypatch, tmp_path):
    resolve_model(SHORT)
    capsys.readouterr()
    other = tmp_path / 'other/weights'
    other.mkdir(parents=True)
    (other / paths[0].name).write_bytes(paths[0].read_bytes())
    monkeypatch.setenv('MMPANSEG_CACHE', str(other.parent))
    for shown in (1, 0):
        resolve_model(SHORT, offline=True)
        assert capsys.readouterr().err.count('license CC-BY-NC-4.0') == shown


def test_cache_folder_that_cannot_be_written(monkeypatch, tmp_path, server):
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('MMPANSEG_CACHE', str(tmp_path / 'file'))
    with pytest.raises(UsageError, match=r'cannot write to the cache folder .*file/weights \(not a '
                       r'directory\): set MMPANSEG_CACHE to another folder'):
        resolve_model(SHORT)
    assert not server.requests


def test_weights_of_a_config_by_address(server, tiny, cache):
    url = f'{server.url}/zoo/model_final.pkl'
    with pytest.raises(UsageError, match='is not in the cache .*: omit --offline'):
        resolve_model(NAME, url, offline=True)
    found = resolve_model(NAME, url)
    assert found.name == NAME and found.published == SHORT
    check_weights(found.weights, tiny)
    assert resolve_model(NAME, url, offline=True).weights == found.weights
    assert len(server.requests) == 1
    with pytest.raises(UsageError, match='an address with http or https'):
        resolve_model(NAME, 's3://bucket/x.pth')


def test_prediction_by_name(tmp_path, server):
    """From the shell, without and with a copy in the cache."""
    from click.testing import CliRunner
    from PIL import Image

    from mmpanseg.cli.app import main

    Image.new('RGB', (96, 64), (90, 160, 70)).save(tmp_path / 'photo.png')
    pictures, messages = [], []
    for options in ((), ('--offline', )):
        out = tmp_path / f'out{len(pictures)}'
        done = CliRunner().invoke(main, [
            'predict', str(tmp_path / 'photo.png'), '--model', SHORT, '--device', 'cpu', '--out',
            str(out), *options])
        assert done.exit_code == 0, done.output
        pictures.append((out / 'pictures/photo.png').read_bytes())
        messages.append(done.stderr.splitlines())
    assert pictures[0] == pictures[1] and len(server.requests) == 1
    assert 'license CC-BY-NC-4.0, no commercial use' in messages[0][0]
    assert not any('license' in line or 'downloading' in line for line in messages[1])


@pytest.mark.slow
@pytest.mark.parametrize(('short', 'manifest'), [
    ('panoptic-segformer-r50-coco-panoptic', 'panoptic_segformer/manifest_r50.json'),
    ('kmax-deeplab-r50-coco-panoptic', 'kmax_deeplab/manifest_r50.json')])
def test_files_of_published_names_and_sizes(short, manifest, published, server, monkeypatch, cache,
                                            repo_root):
    """The real configs and addresses, with made-up values."""
    import io

    import mmpanseg
    from mmpanseg.hub import config_files, model_index

    monkeypatch.setattr(mmpanseg, '__file__', str(repo_root / 'mmpanseg/__init__.py'))
    model_index._read_models.cache_clear()
    config_files.config_paths.cache_clear()
    release = list_models(short)[0].release
    values = {name: torch.full(value.shape, 0.5) for name, value in published(manifest).items()}
    file = io.BytesIO()
    torch.save(dict(state_dict=values) if 'segformer' in short else dict(model=values), file)
    server.files[f'/{release.url.removeprefix("https://")}'] = file.getvalue()
    monkeypatch.setenv('MMPANSEG_MIRROR', server.url)
    found = resolve_model(short)
    weights = read_checkpoint(found.weights)['state_dict']
    counted = sum(value.numel() for name, value in weights.items() if 'running' not in name
                  and 'num_batches' not in name and 'position_index' not in name)
    assert counted == pytest.approx(list_models(short)[0].parameters, rel=0.01)
    assert found.license == 'Apache-2.0'

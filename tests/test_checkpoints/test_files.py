"""Reading of files: formats, and those that must not be read."""
import argparse
import collections
import datetime
import os
import pathlib
import pickle
import zipfile

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer

from mmpanseg.checkpoints import CheckpointError, read_weights
from mmpanseg.checkpoints.weight_files import describe_broken_file
from mmpanseg.engine import UsageError, check_checkpoint


@pytest.fixture
def weights():
    state = collections.OrderedDict(
        a=torch.randn(3), b=torch.nn.Parameter(torch.randn(2, 2)), c=torch.ones(2).half(),
        n=torch.tensor(3))
    state._metadata = {'': dict(version=2)}
    return state


# what trainers write beside the weights
META = dict(
    logs=HistoryBuffer([1., 2.], [1, 1]), config=ConfigDict(a=dict(b=[1])), score=np.float64(3),
    time=datetime.datetime(2020, 1, 1), path=pathlib.Path('x'), args=argparse.Namespace(a=1),
    CLASSES=('a', ), part=slice(1), groups=collections.defaultdict(list, a=[1]),
    queue=collections.deque([1]), kind=np.dtype('f4'), half=torch.float16, ids={1, 2})


def assert_same(found, weights):
    assert found.keys() == weights.keys()
    for key, value in weights.items():
        assert torch.equal(found[key], value) and found[key].dtype == value.dtype
        assert type(found[key]) is torch.Tensor


@pytest.mark.parametrize('new', [True, False])
def test_torch_files_with_logs_and_configs(tmp_path, weights, new):
    path = tmp_path / 'x.pth'
    optimizer = dict(state={0: dict(exp_avg=torch.ones(3))})
    torch.save(dict(state_dict=weights, meta=META, optimizer=optimizer), path,
               _use_new_zipfile_serialization=new)
    assert_same(read_weights(path), weights)
    torch.save(weights, path, _use_new_zipfile_serialization=new)
    assert_same(read_weights(path), weights)


@pytest.mark.parametrize('protocol', range(6))
def test_pickles_of_arrays_and_of_tensors(tmp_path, weights, protocol):
    path = tmp_path / 'x.pkl'
    arrays = {key: value.detach().numpy() for key, value in weights.items()}
    for content in (arrays, weights):
        path.write_bytes(pickle.dumps(
            dict(model=content, __author__='x', matching_heuristics=True, meta=META), protocol))
        assert_same(read_weights(path), weights)


def test_name_of_a_wrapper_goes(tmp_path, weights):
    torch.save(dict(model={f'module.{key}': value for key, value in weights.items()}),
               tmp_path / 'x.pth')
    assert_same(read_weights(tmp_path / 'x.pth'), weights)


class Call:
    """Pickled as a call of a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize('function, name', [
    (os.system, 'posix.system'), (eval, 'builtins.eval'), (os.mkdir, 'posix.mkdir')])
def test_code_is_not_run(tmp_path, function, name):
    mark = tmp_path / 'mark'
    command = f'open({str(mark)!r}, "w")' if function is eval else (
        str(mark) if function is os.mkdir else f'touch {mark}')
    evil = dict(state_dict=dict(a=torch.ones(1)), meta=Call(function, command))
    torch.save(evil, tmp_path / 'x.pth')
    torch.save(evil, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    (tmp_path / 'x.pkl').write_bytes(pickle.dumps(evil))
    for file in ('x.pth', 'old.pth', 'x.pkl'):
        with pytest.raises(CheckpointError, match=rf'{file}: it calls {name}'):
            read_weights(tmp_path / file)
    assert not mark.exists()


def test_functions_of_libraries_are_not_run(tmp_path):
    torch.save(dict(state_dict=dict(a=torch.ones(1)),
                    meta=Call(np.save, str(tmp_path / 'mark.npy'), 1)), tmp_path / 'x.pth')
    assert read_weights(tmp_path / 'x.pth').keys() == {'a'}
    assert not (tmp_path / 'mark.npy').exists()


def test_files_that_are_no_checkpoints(tmp_path, weights):
    torch.save(weights, tmp_path / 'whole.pth')
    torch.save(weights, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    (tmp_path / 'whole.pkl').write_bytes(pickle.dumps(dict(a=np.ones(100))))
    for file in ('whole.pth', 'old.pth', 'whole.pkl'):
        data = (tmp_path / file).read_bytes()
        (tmp_path / file).write_bytes(data[:len(data) - len(data) // 4])
    (tmp_path / 'empty.pth').touch()
    (tmp_path / 'page.pth').write_text('<html>not found</html>')
    for file in ('whole.pth', 'old.pth', 'whole.pkl', 'empty.pth', 'page.pth'):
        with pytest.raises(CheckpointError, match=f'{file}: not a checkpoint, or not all') as error:
            read_weights(tmp_path / file)
        assert '\n' not in str(error.value)
    torch.save([1], tmp_path / 'list.pth')
    with pytest.raises(CheckpointError, match='list.pth: .* a dict of tensors, this holds a list'):
        read_weights(tmp_path / 'list.pth')
    torch.save(dict(epoch=1), tmp_path / 'none.pth')
    with pytest.raises(CheckpointError, match='none.pth: there are no tensors in it.*epoch'):
        read_weights(tmp_path / 'none.pth')
    with pytest.raises(CheckpointError, match='missing.pth does not exist'):
        read_weights(tmp_path / 'missing.pth')
    with pytest.raises(CheckpointError, match='a folder without any of model.safetensors'):
        read_weights(tmp_path)


@pytest.mark.filterwarnings('ignore')
def test_programs_are_no_weights(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match='x.pth: a TorchScript program'):
        read_weights(tmp_path / 'x.pth')
    torch.save(torch.nn.Linear(2, 2), tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match='a dict of tensors'):
        read_weights(tmp_path / 'x.pth')


def test_folder_in_several_files(tmp_path, weights):
    first, second = dict(list(weights.items())[:2]), dict(list(weights.items())[2:])
    torch.save(first, tmp_path / 'pytorch_model-1.bin')
    torch.save(second, tmp_path / 'pytorch_model-2.bin')
    index = tmp_path / 'pytorch_model.bin.index.json'
    index.write_text('{"weight_map": {"a": "pytorch_model-1.bin", "n": "pytorch_model-2.bin"}}')
    assert_same(read_weights(tmp_path), weights)
    index.write_text('[]')
    with pytest.raises(CheckpointError, match='not an index of weight files'):
        read_weights(tmp_path)
    safetensors = pytest.importorskip('safetensors.torch', reason='safetensors is not installed')
    safetensors.save_file({k: v.detach() for k, v in weights.items()},
                          tmp_path / 'model.safetensors')
    assert_same(read_weights(tmp_path), weights)
    (tmp_path / 'model.safetensors').write_bytes(b'123')
    with pytest.raises(CheckpointError, match='not a checkpoint'):
        read_weights(tmp_path)


@pytest.mark.parametrize('content, kind', [
    (b'', 'it is empty'), (b'<!DOCTYPE html><html>', 'it is text, such as a page'),
    (b'{"error": "not found"}', 'it is text'),
    (b'version https://git-lfs.github.com/spec/v1\noid sha256:1', 'pointer of Git LFS'),
    (b'\x1f\x8b\x08' + bytes(99), 'packed archive'), (b'PK\x03\x04' + bytes(99), 'end is missing')])
@pytest.mark.parametrize('suffix', ['.pth', '.pkl', '.safetensors'])
def test_what_a_file_is(tmp_path, content, kind, suffix):
    if suffix == '.safetensors':
        pytest.importorskip('safetensors', reason='safetensors is not installed')
    path = tmp_path / f'x{suffix}'
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f'x{suffix}: not a checkpoint, .*{kind}') as error:
        read_weights(path)
    assert '\n' not in str(error.value)
    with pytest.raises(UsageError, match=kind):
        check_checkpoint(str(path))


def test_archives_without_weights(tmp_path):
    with zipfile.ZipFile(tmp_path / 'x.zip', 'w') as archive:
        archive.writestr('readme.txt', 'weights are elsewhere')
    assert describe_broken_file(tmp_path / 'x.zip') == 'it is a packed archive, unpack it'
    with pytest.raises(UsageError, match='is a folder; .*convert.py'):
        check_checkpoint(str(tmp_path))


def test_whole_checkpoints_pass(tmp_path, weights):
    # the length of a .safetensors header, in its first bytes, may look like text
    (tmp_path / 'x.safetensors').write_bytes(b'{' + bytes(7) + b'{"a": 1}' + bytes(99))
    assert describe_broken_file(tmp_path / 'x.safetensors') == ''
    torch.save(weights, tmp_path / 'x.pth')
    torch.save(weights, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    torch.save(weights, tmp_path / 'x.pkl')
    for file in ('x.pth', 'old.pth', 'x.pkl'):
        assert describe_broken_file(tmp_path / file) == ''
        assert check_checkpoint(str(tmp_path / file)) == str(tmp_path / file)
    (tmp_path / 'foreign.pkl').write_bytes(pickle.dumps(dict(a=np.ones(3))))
    assert describe_broken_file(tmp_path / 'foreign.pkl') == ''
    with pytest.raises(UsageError, match='convert.py .*foreign.pkl foreign_converted.pth'):
        check_checkpoint(str(tmp_path / 'foreign.pkl'))

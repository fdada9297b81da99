"""Files of safetensors: of this library with what describes them, and of others."""
import json
import sys
from pathlib import Path

import pytest
import torch
from mmengine.runner import CheckpointLoader

from mmpanseg.checkpoints import CheckpointError, read_weights
from mmpanseg.checkpoints.safetensors_files import write_safetensors
from mmpanseg.checkpoints.weight_files import read_checkpoint

sys.path.insert(0, str(Path(__file__).parent))
from identical import assert_identical  # noqa: E402

TENSORS = {
    'a.weight': torch.randn(3, 4), 'half': torch.randn(5).half(), 'b': torch.randn(2).bfloat16(),
    'double': torch.randn(1).double(), 'scalar': torch.tensor(3), 'empty': torch.empty(0, 4),
    'flags': torch.tensor([True, False, True]), 'bytes': torch.arange(3, dtype=torch.uint8),
    'short': torch.arange(3, dtype=torch.int16), 'turned': torch.arange(6.0).reshape(2, 3).t(),
    'int8': torch.arange(3, dtype=torch.int8), 'int32': torch.arange(3, dtype=torch.int32),
    'float8': torch.ones(3).to(torch.float8_e4m3fn), 'nan': torch.tensor([float('nan'), -0.0])}
META = dict(
    mmpanseg_version='1', epoch=3, iter=7, seed=None, averaged=True, experiment_name='ä',
    cfg='a = 1',
    dataset_meta=dict(classes=('a', 'b'), thing_classes=('a', ), stuff_classes=('b', ),
                      palette=[(1, 2, 3), (4, 5, 6)]))


def contiguous(tensors):
    return {name: value.contiguous() for name, value in sorted(tensors.items())}


def test_written_files_come_back(tmp_path):
    path = tmp_path / 'x.safetensors'
    write_safetensors(TENSORS, path, META)
    found = read_checkpoint(path)
    assert found.keys() == {'state_dict', 'meta'}
    assert_identical(dict(sorted(found['state_dict'].items())), contiguous(TENSORS))
    assert found['meta'] == META
    assert_identical(found['meta']['dataset_meta'], META['dataset_meta'])
    assert_identical(CheckpointLoader.load_checkpoint(str(path)), found)
    write_safetensors(TENSORS, path)
    assert_identical(dict(sorted(read_weights(path).items())), contiguous(TENSORS))


def test_the_package_reads_what_is_written_and_reverse(tmp_path):
    package = pytest.importorskip('safetensors.torch', reason='safetensors is not installed')
    path = tmp_path / 'x.safetensors'
    write_safetensors(TENSORS, path, META)
    assert_identical(dict(sorted(package.load_file(path).items())), contiguous(TENSORS))
    with package.safe_open(path, 'pt') as file:
        texts = file.metadata()
    assert texts['format'] == 'pt' and texts['cfg'] == 'a = 1'
    assert json.loads(texts['dataset_meta'])['classes'] == ['a', 'b']
    package.save_file(contiguous(TENSORS), path)
    assert_identical(dict(sorted(read_weights(path).items())), contiguous(TENSORS))


def header(entries, values=b'\0' * 16, length=None):
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return (len(text) if length is None else length).to_bytes(8, 'little') + text + values


GOOD = dict(dtype='F32', shape=[4], data_offsets=[0, 16])
DAMAGED = {
    'length': header({}, length=1 << 60), 'no length': b'\0\0', 'no JSON': header(b'xyz'),
    'list': header([]), 'entry': header(dict(a=1)), 'no type': header(dict(a=dict(shape=[]))),
    'type': header(dict(a=dict(GOOD, dtype='F3'))), 'shape': header(dict(a=dict(GOOD, shape=[5]))),
    'negative shape': header(dict(a=dict(GOOD, shape=[-4]))),
    'float shape': header(dict(a=dict(GOOD, shape=[4.0]))),
    'flag as shape': header(dict(a=dict(GOOD, shape=[True, 4]))),
    'shape as text': header(dict(a=dict(GOOD, shape='4'))),
    'offset': header(dict(a=dict(GOOD, data_offsets=[4, 20]))),
    'negative offset': header(dict(a=dict(GOOD, data_offsets=[-16, 0]))),
    'offsets': header(dict(a=dict(GOOD, data_offsets=[0, 16, 32]))),
    'overlap': header(dict(a=GOOD, b=GOOD)), 'short': header(dict(a=GOOD), b'\0' * 15),
    'large': header(dict(a=dict(GOOD, shape=[1 << 40], data_offsets=[0, 1 << 42]))),
    'deep': header(b'[' * 100_000),
    'meta': header(dict(__metadata__=dict(mmpanseg='x'), a=GOOD)),
    'meta of a list': header(dict(__metadata__=dict(mmpanseg='[]'), a=GOOD)),
    'classes': header(dict(__metadata__=dict(mmpanseg='{}', dataset_meta='[]'), a=GOOD))}


@pytest.mark.parametrize('case', DAMAGED)
def test_damaged_files(tmp_path, case):
    path = tmp_path / 'x.safetensors'
    path.write_bytes(header(dict(a=GOOD)))
    assert read_weights(path)['a'].shape == (4, )
    path.write_bytes(DAMAGED[case])
    with pytest.raises(CheckpointError, match='x.safetensors: ') as error:
        read_weights(path)
    assert '\n' not in str(error.value) and 'trust' not in str(error.value)


def test_types_without_a_name(tmp_path):
    with pytest.raises(CheckpointError, match='safetensors has no type for z, torch.complex128'):
        write_safetensors(dict(z=torch.ones(1, dtype=torch.complex128)), tmp_path / 'x.safetensors')

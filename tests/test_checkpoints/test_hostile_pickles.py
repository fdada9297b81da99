"""Pickles that misuse what a checkpoint may contain: refused in one line, without damage."""
import copyreg
import io
import os
import pickle
import zipfile

import numpy as np
import pytest
from mmengine.logging import HistoryBuffer

from mmpanseg.checkpoints import CheckpointError, read_weights
from mmpanseg.checkpoints.torch_files import _Consecutive, read_torch_file
from mmpanseg.checkpoints.unpickling import Inert

GLOBAL, REDUCE, BUILD = b'c%s\n%s\n', b'R', b'b'
HISTORY = b'cmmengine.logging.history_buffer\nHistoryBuffer\n'


def name(module, attribute):
    return f'c{module}\n{attribute}\n'.encode()


def value(thing, protocol=2):
    """Opcodes of a plain value."""
    return pickle.dumps(thing, protocol)[2:-1]


def dict_of(opcodes):
    """A checkpoint whose only entry, of the key 'meta', is built by opcodes."""
    return b'\x80\x02}' + value('meta') + opcodes + b's.'


def zipped(opcodes, **records):
    data = io.BytesIO()
    with zipfile.ZipFile(data, 'w') as archive:
        archive.writestr('archive/data.pkl', opcodes)
        for key, content in records.items():
            archive.writestr(f'archive/{key.replace("_", "/")}', content)
    data.seek(0)
    return data


def storage_id(count, key='0', kind=b'ctorch\nFloatStorage\n'):
    return b'(' + value('storage') + kind + value(key) + value('cpu') + value(count) + b'tQ'


def tensor(count=4, size=(4, ), stride=(1, ), offset=0):
    return (name('torch._utils', '_rebuild_tensor_v2') + b'(' + storage_id(count) + value(offset)
            + value(size) + value(stride) + b'\x89' + b'Ntt'.replace(b'tt', b't') + REDUCE)


def call(module, attribute, *arguments):
    return name(module, attribute) + b'(' + b''.join(map(value, arguments)) + b't' + REDUCE


DTYPE = call('numpy', 'dtype', 'f8', False, True)
ARRAY = (name('numpy.core.multiarray', '_reconstruct') + b'(' + name('numpy', 'ndarray')
         + value((0, )) + value(b'b', 3) + b't' + REDUCE)


def array(dtype, shape, values):
    return ARRAY + b'(' + value(1) + value(shape) + dtype + b'\x89' + values + b't' + BUILD


REFUSED = {
    'command': call('posix', 'system', 'true'),
    'subprocess': call('subprocess', 'Popen', 'true'),
    'import': call('builtins', '__import__', 'os'),
    'eval': call('__builtin__', 'eval', '1'),
    'names with dots': b'\x80\x04' + value('builtins') + value('getattr.__self__') + b'\x93',
    'name of several lines': b'\x80\x04' + value('a\nb') + value('c\x1b[1m' * 9999) + b'\x93',
    'apply of a value': b'K\x01)R',
    'method of a string': b'\x8c\x01aK\x01b',
    'state of a class': HISTORY + b'(N}' + value('mean') + b'K\x01sttb'.replace(b'tt', b't'),
    'state of a type': name('builtins', 'list') + b'}' + value('x') + b'K\x01sb',
    'state of a module map': b'}}' + value('x') + b'K\x01sb',
    'attribute of an array': name('builtins', 'getattr') + b'(' + DTYPE + value('type') + b't'
                             + REDUCE,
    'attribute of a builder': name('builtins', 'getattr') + b'(K\x01' + value('real') + b't'
                              + REDUCE,
    'functions of all histories': (
        HISTORY + b')\x81}(' + value('max_length') + b'K\x01' + value('_log_history')
        + array(DTYPE, (0, ), value(b'', 3)) + value('_count_history')
        + array(DTYPE, (0, ), value(b'', 3)) + value('statistics_methods') + b'}'
        + value('mean') + name('builtins', 'list') + b'sub'),
    'history without numbers': HISTORY + b')\x81}' + value('max_length') + b'K\x01sb',
    'pointers as values': array(call('numpy', 'dtype', 'O8', False, True), (1, ),
                                value(b'\1' * 8, 3)),
    'pointer as a number': name('numpy.core.multiarray', 'scalar') + b'('
                           + call('numpy', 'dtype', 'O8', False, True) + value(b'\1' * 8, 3)
                           + b't' + REDUCE,
    'array of structures': call('numpy', 'dtype', 'V8', False, True),
    'fields of a type': DTYPE + b'(' + value(3) + value('<') + b'N' + value(('a', )) + b'}' + value(
        'a') + b'(' + call('numpy', 'dtype', 'O8', False, True) + value(0) + b'tsJ\xff\xff\xff\xff'
        + b'J\xff\xff\xff\xffK\x00tb',
    'other size of a type': DTYPE + b'(' + value(3) + value('<') + b'NNN' + value(1 << 20)
                            + value(8) + value(0) + b'tb',
    'array larger than its values': array(DTYPE, (1 << 40, ), value(b'\0' * 8, 3)),
    'memory of bytes': call('builtins', 'bytes', 1 << 50),
    'memory of a byte array': call('builtins', 'bytearray', 1 << 50),
    'memory of a list': name('builtins', 'list') + b'(' + call('builtins', 'range', 1 << 50) + b't'
                        + REDUCE,
    'byte array larger than the file': b'\x96' + (1 << 50).to_bytes(8, 'little'),
    'text larger than the file': b'\x8d' + (1 << 50).to_bytes(8, 'little'),
    'deep nest': b'(l' * 100_000 + b'a' * 99_999,
    'deep key': b'}' + b')' + b'\x85' * 100_000 + b'K\x01s',
    'deep member of a set': name('builtins', 'set') + b'(]' + b')' + b'\x85' * 100_000 + b'at'
                            + REDUCE,
    'extension': b'\x82\x01', 'buffer': b'\x97', 'memo': b'h\x07', 'stack': b'0000',
    'object outside of it': b'(K\x01tQ', 'nothing': b'',
    'nested file': name('torch._utils', '_rebuild_tensor_v2') + b'(' + call(
        'torch.storage', '_load_from_bytes', pickle.dumps(os.system)) + value(0) + value((1, ))
        + value((1, )) + b'\x89Nt' + REDUCE}


@pytest.mark.parametrize('form', ['zip', 'old', 'pkl'])
@pytest.mark.parametrize('case', REFUSED)
def test_refused(tmp_path, case, form):
    opcodes = dict_of(REFUSED[case])
    path = tmp_path / ('x.pkl' if form == 'pkl' else 'x.pth')
    if form == 'zip':
        path.write_bytes(zipped(opcodes).getvalue())
    elif form == 'old':
        path.write_bytes(b''.join(
            pickle.dumps(part, 2) for part in (0x1950a86a20f9469cfc6c, 1001, {})) + opcodes)
    else:
        path.write_bytes(opcodes)
    methods = dict(HistoryBuffer._statistics_methods)
    with pytest.raises(CheckpointError) as error:
        read_weights(path)
    text = str(error.value)
    assert text.startswith(f'{path}: ') and '\n' not in text and len(text) < len(str(path)) + 400
    assert HistoryBuffer._statistics_methods == methods
    assert not hasattr(list, 'x')


BAD_TENSORS = {
    'shape': dict(size=(5, )), 'offset': dict(offset=1), 'stride': dict(stride=(2, )),
    'negative stride': dict(offset=3, stride=(-1, )), 'negative offset': dict(offset=-1),
    'negative shape': dict(size=(-1, )), 'strides': dict(stride=(1, 1)),
    'repetition': dict(size=(1 << 40, ), stride=(0, )), 'huge': dict(size=(1 << 62, )),
    'storage': dict(count=1 << 40), 'storage by one': dict(count=5, size=(5, )),
    'negative storage': dict(count=-1)}


@pytest.mark.parametrize('case', BAD_TENSORS)
def test_tensors_inside_of_the_file(tmp_path, case):
    good = read_torch_file(zipped(dict_of(tensor()), data_0=np.arange(4, dtype='f4').tobytes()))
    assert good['meta'].tolist() == [0, 1, 2, 3]
    path = tmp_path / 'x.pth'
    path.write_bytes(zipped(dict_of(tensor(**BAD_TENSORS[case])), data_0=bytes(16)).getvalue())
    with pytest.raises(CheckpointError, match='x.pth: (a tensor|the values of a tensor|it refers)'):
        read_weights(path)


def old_form(opcodes, keys, values):
    parts = [pickle.dumps(part, 2) for part in (0x1950a86a20f9469cfc6c, 1001, {})]
    return b''.join([*parts, opcodes, pickle.dumps(keys, 2), values])


def test_old_form_inside_of_the_file():
    opcodes = dict_of(tensor()).replace(b'tQ', b'NtQ')  # no view
    values = (4).to_bytes(8, 'little') + np.arange(4, dtype='f4').tobytes()
    good = _Consecutive(io.BytesIO(old_form(opcodes, ['0'], values)), 'cpu').read()
    assert good['meta'].tolist() == [0, 1, 2, 3]
    for data in (old_form(opcodes, [], values), old_form(opcodes, ['0'], values[:-1]),
                 old_form(opcodes, ['1'], values),
                 old_form(opcodes, ['0'], (5).to_bytes(8, 'little') + bytes(20)),
                 old_form(dict_of(tensor(count=1 << 40)).replace(b'tQ', b'NtQ'), ['0'], values)):
        with pytest.raises((CheckpointError, EOFError, KeyError)):
            _Consecutive(io.BytesIO(data), 'cpu').read()


def test_archives_that_are_larger_than_their_file(tmp_path):
    path = tmp_path / 'x.pth'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('archive/data.pkl', dict_of(tensor(1 << 22)))
        archive.writestr('archive/data/0', bytes(1 << 24))
    assert path.stat().st_size < 1 << 16
    with pytest.raises(CheckpointError, match='its entries are larger than the file'):
        read_weights(path)
    path.write_bytes(zipped(dict_of(tensor()), byteorder='big').getvalue())
    with pytest.raises(CheckpointError, match='another byte order'):
        read_weights(path)


def test_programs_of_torch_are_found_by_any_name(tmp_path):
    path = tmp_path / 'x.pth'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('archive/data.pkl', dict_of(b'N'))
        archive.writestr('constants.pkl', b'')
    with pytest.raises(CheckpointError, match='TorchScript'):
        read_weights(path)


class OfLibrary:
    """Pickled as an object of a library, with state, items and attributes."""

    def __reduce__(self):
        return _Record, (1, ), dict(a=1), iter([1]), iter([('b', 2)])


class _Record(dict):
    pass


def test_objects_that_nobody_needs_are_inert(tmp_path):
    """Inert in `meta`, refused in what a training continues with."""
    _Record.__module__, _Record.__qualname__ = 'mmdet.utils', 'Record'
    copyreg.dispatch_table.pop(_Record, None)
    opcodes = (call('mmdet.utils', 'Record', 1) + b'}' + value('a') + b'K\x01sb' + b'(K\x01e'
               + b'(' + value('b') + b'K\x02u')
    content = read_torch_file(zipped(dict_of(opcodes)))
    assert type(content['meta']) is Inert
    assert repr(content['meta']) == '<mmdet.utils.Record, not read>'
    assert vars(content['meta']) == dict(name='mmdet.utils.Record')
    path = tmp_path / 'x.pth'
    for key in ('optimizer', 'message_hub', 'param_schedulers', 'state_dict', 'random_states'):
        opened = dict_of(b']' + opcodes + b'a').replace(value('meta')[:5], value(key)[:5]).replace(
            b'meta', key.encode(), 1)
        path.write_bytes(zipped(opened).getvalue())
        with pytest.raises(CheckpointError, match=f'its entry {key} contains an object of the type '
                                                  'mmdet.utils.Record, which is not read'):
            read_weights(path)

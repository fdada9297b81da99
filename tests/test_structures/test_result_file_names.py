"""Names of result files: unchanged where they differ, never one name for two images."""
import itertools
import unicodedata
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmpanseg.structures.result_file_names import (
    MAX_BYTES,
    ResultNames,
    _parts,
    dataset_result_names,
    picture_name,
    result_names,
)

from ..fuzz import cases


@pytest.mark.parametrize('paths, names', [
    # ordinary data sets keep their names, also with dots, spaces, percent signs and capitals
    (['val/000000000139.jpg', 'val/b.c.JPG', 'val/100%d 1.png', 'val/grün.png', 'val/plain'],
     ['000000000139', 'b.c', '100%d 1', 'grün', 'plain']),
    (['d/frankfurt/f_1.png', 'd/lindau/l_1.png'], ['f_1', 'l_1']),
    # one name in two folders: all keep their folders, from the common one on
    (['x/a/1.png', 'x/b/1.png', 'x/b/2.png'], ['a/1', 'b/1', 'b/2']),
    (['1.png', 'a/1.png', 'a/b/1.png'], ['1', 'a/1', 'a/b/1']),
    # two endings: those keep them
    (['x/1.png', 'x/1.jpg', 'x/2.png'], ['1.png', '1.jpg', '2']),
    (['x/1.PNG', 'x/1.png'], ['1.PNG', '1.png']),
    (['a/1.png', 'b/1.png', 'b/1.jpg'], ['a/1', 'b/1.png', 'b/1.jpg']),
    # a name that is another one's with its ending
    (['1.png', '1.jpg', '1.png.jpg'], ['1.png', '1.jpg', '1.png.jpg']),
    # capitals make no difference on some file systems
    (['a/Ball.png', 'b/ball.png'], ['a/Ball', 'b/ball']),
    (['a/../x/1.png', 'x/1.png'], ['1', '1']),
    (['s3://pool/a/1.png', 's3://pool/b/1.png'], ['a/1', 'b/1']),
    ([], [])])
def test_names(paths, names):
    assert list(result_names(paths).values()) == names
    for order in itertools.islice(itertools.permutations(zip(paths, names)), 6):
        given = [path for path, _ in order]
        assert list(result_names(given).values()) == [name for _, name in order]


def test_endings_and_several_results_of_an_image():
    assert result_names(['x/a/1.png', 'x/a/1.jpg'], keep_ending=True) == {
        'x/a/1.png': '1.png', 'x/a/1.jpg': '1.jpg'}
    assert result_names(['a/1.png', 'b/1.png'], keep_ending=True) == {
        'a/1.png': 'a/1.png', 'b/1.png': 'b/1.png'}
    # 1_semantic.png is a result of 1.png and of 1_semantic.png
    names = result_names(['1.png', '1_semantic.png'], suffixes=('', '_semantic'))
    assert list(names.values()) == ['1.png', '1_semantic.png']
    assert [picture_name(name) for name in ('a/1.JPG', '2.gif', '3')] == [
        'a/1.JPG', '2.gif.png', '3.png']


def test_names_too_long_for_a_file_system():
    stems = ['ä' * 150 + end for end in 'ab']
    names = list(result_names([f'x/{stem}.png' for stem in stems]).values())
    assert len(set(names)) == 2
    assert all(len(name.encode()) <= MAX_BYTES and name.startswith('ää') for name in names)


def test_random_trees_have_a_name_for_each_image():
    rng = np.random.default_rng(0)
    for _ in range(300):
        paths = {'/'.join(['r', *rng.choice(['a', 'B', '1.png'], rng.integers(3)),
                           rng.choice(['1', '1.png', '1_1', '2']) + rng.choice(['.png', '.jpg'])])
                 for _ in range(rng.integers(1, 9))}
        names = result_names(paths)
        assert len(set(names.values())) == len(paths)
        for path, name in names.items():
            # nothing but the end of the path, with or without its ending
            assert path.endswith(name) or str(PurePosixPath(path).with_suffix('')).endswith(name)


def test_names_of_a_data_set():
    class Data:
        paths = ['x/a/1.png', 'x/b/1.png']

        def __len__(self):
            return 2

        def get_data_info(self, index):
            return dict(img_path=self.paths[index])

    assert dataset_result_names(Data()) == {'x/a/1.png': 'a/1', 'x/b/1.png': 'b/1'}


def test_several_calls_into_one_folder(tmp_path):
    names = ResultNames(keep_ending=True)
    names.add(['a/1.png', 'a/1.jpg'])
    assert [names.of(path) for path in ('a/1.png', 'b/1.png', 'a/1.jpg', 'b/1.png', 'c/1.png')] == [
        '1.png', '1_1.png', '1.jpg', '1_1.png', '1_2.png']
    (tmp_path / '00000001.jpg').touch()
    assert [names.unnamed('.jpg', tmp_path) for _ in range(2)] == ['00000000.jpg', '00000002.jpg']
    names = ResultNames(used={'a/1.png': '1', '00000000.png': '00000000'})
    assert [names.of('a/1.png'), names.of('b/1.png'), names.unnamed()] == ['1', '1_1', '00000001']


FOLDERS = st.sampled_from(['..', '.', '', 'a', 'A', 'ä', 'a\u0308', '1.png', ' ', '~', 'C:',
                           'x' * 300])
FILES = st.sampled_from(['1', '1.png', '1.PNG', '1.jpg', '1_1.png', '...png', '.png', 'ß.png',
                         'SS.png', '1.png.jpg', 'y' * 300 + '.png'])
PATHS = st.tuples(st.sampled_from(['', '/', '//', 's3://', 'http://h/']),
                  st.lists(FOLDERS, max_size=3), FILES).map(
    lambda parts: parts[0] + '/'.join([*parts[1], parts[2]]))


@cases(150)
@given(st.lists(PATHS, max_size=6), st.booleans(), st.sampled_from([('', ), ('', '_1')]))
def test_no_path_leads_out_of_the_folder(paths, keep_ending, suffixes):
    """Names are relative, without ``..``; they differ without case where the paths do."""
    names = result_names(paths, keep_ending, suffixes)
    exact, folded = {}, {}
    for path, name in names.items():
        parts = name.split('/')
        assert not PurePosixPath(name).is_absolute() and '..' not in parts and '.' not in parts
        assert all(part and len(part.encode()) <= MAX_BYTES for part in parts)
        place = _parts(path)
        for suffix in suffixes:
            assert exact.setdefault(f'{name}{suffix}', place) == place
            plain = [unicodedata.normalize('NFC', text.casefold())
                     for text in (f'{name}{suffix}', '/'.join(place))]
            assert folded.setdefault(plain[0], plain[1]) == plain[1]

"""Sources of the command line and the names of their results, against hand-made lists."""
import os
from pathlib import Path

import pytest

from mmpanseg.cli.sources import find_sources


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with sub-folders, capital endings, hidden and other files."""
    for name in ('in/a.jpg', 'in/b.JPG', 'in/sub/a.png', 'in/sub/deep/clip.MP4', 'in/notes.txt',
                 'in/.hidden.jpg', 'in/.cache/c.jpg', 'in/out/pictures/a.png', 'other/a.jpg',
                 'other/a.png', 'other/data.bin', 'texts/x.txt', 'odd/[1].png', 'odd/1.png',
                 'odd/clip.avi', 'odd/clip.png', 'odd/clip.avi.png'):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*arguments, **options):
    sources, failures = find_sources(arguments, **options)
    return [(source.path, source.name) for source in sources], failures


def test_folder_keeps_its_structure(folder):
    found, failures = names('in', left_out=Path('in/out'))
    assert found == [('in/a.jpg', 'a'), ('in/b.JPG', 'b'), ('in/sub/a.png', 'sub/a'),
                     ('in/sub/deep/clip.MP4', 'sub/deep/clip.MP4')]
    assert not failures
    assert [source.is_video for source in find_sources(['in'], Path('in/out'))[0]] == [
        False, False, False, True]


def test_structure_does_not_depend_on_equal_names(folder):
    os.unlink('in/sub/a.png')
    found, _ = names('in', left_out=Path('in/out').absolute())
    assert ('in/sub/deep/clip.MP4', 'sub/deep/clip.MP4') in found


def test_pattern_names_are_below_its_fixed_part(folder):
    assert names('in/**/*.[jJpP]*')[0] == [
        ('in/a.jpg', 'a'), ('in/b.JPG', 'b'), ('in/out/pictures/a.png', 'out/pictures/a'),
        ('in/sub/a.png', 'sub/a')]
    # files of other kinds that match are left out
    assert names('other/*')[0] == [('other/a.jpg', 'a.jpg'), ('other/a.png', 'a.png')]


def test_equal_names_of_several_sources(folder):
    assert names('in/a.jpg', 'other/a.jpg', 'in/sub')[0] == [
        ('in/a.jpg', 'in/a'), ('other/a.jpg', 'other/a'), ('in/sub/a.png', 'in/sub/a'),
        ('in/sub/deep/clip.MP4', 'in/sub/deep/clip.MP4')]


def test_each_image_once_in_the_given_order(folder):
    assert names('other/a.png', 'in/b.JPG', 'other/../in/b.JPG', str(folder / 'in/b.JPG'))[0] == [
        ('other/a.png', 'a'), ('in/b.JPG', 'b')]


def test_a_file_is_no_pattern_and_any_file_can_be_named(folder):
    assert names('odd/[1].png')[0] == [('odd/[1].png', '[1]')]
    assert names('other/data.bin')[0] == [('other/data.bin', 'data.bin')]
    os.unlink('odd/[1].png')
    assert names('odd/[1].png')[0] == [('odd/1.png', '1')]


def test_names_of_videos_and_images_differ(folder):
    found, _ = names('odd')
    assert dict(found) == {
        'odd/1.png': '1.png', 'odd/[1].png': '[1].png', 'odd/clip.avi': 'clip.avi',
        'odd/clip.png': 'clip.png', 'odd/clip.avi.png': 'clip.avi.png'}
    os.unlink('odd/clip.avi.png')
    found, _ = names('odd')
    assert dict(found) == {'odd/1.png': '1', 'odd/[1].png': '[1]', 'odd/clip.avi': 'clip.avi',
                           'odd/clip.png': 'clip'}


def test_urls(folder):
    assert names('http://host:8000/x/my%20photo.JPG?size=1#top', 'https://host/clip.webm?a=b.jpg',
                 'http://host:8000/', 'http://host/..')[0] == [
        ('http://host:8000/x/my%20photo.JPG?size=1#top', 'my photo'),
        ('https://host/clip.webm?a=b.jpg', 'clip.webm'), ('http://host:8000/', 'host_8000'),
        ('http://host/..', 'host')]


@pytest.mark.parametrize('argument, text', [
    ('absent.jpg', 'absent.jpg does not exist: give an image, a video, a folder, a pattern in '
                   'quotes, or a URL'),
    ('texts', 'texts has no image and no video: none of its 1 files, also in sub-folders, has one '
              'of the endings .jpg'),
    ('texts/*', 'texts/* matches no image and no video; none of the 1 files has the ending of one'),
    ('absent/*.jpg', 'absent/*.jpg matches no image and no video')])
def test_arguments_without_images(folder, argument, text):
    found, failures = names(argument, 'in/a.jpg')
    assert found == [('in/a.jpg', 'a')]
    assert [failure.source for failure in failures] == [argument]
    assert failures[0].reason.startswith(text) and '\n' not in failures[0].reason

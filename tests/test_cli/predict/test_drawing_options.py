"""How pictures of ``mmpanseg predict`` look."""
import json

import cv2
import numpy as np
import pytest


def read(path, kind=cv2.IMREAD_COLOR):
    return cv2.imread(str(path), kind)


def test_styles_colors_and_lines(run, photos, tmp_path):
    (tmp_path / 'p.txt').write_text('10 20 30\n40 50 60\n70 80 90\n100 110 120\n')
    options = ('--style', 'mask', '--line-width', '0', '--label-size', '0')
    assert run('photos/a/1.png', '--out', 'o', *options, '--palette', 'p.txt').status == 0
    shown = {tuple(color) for color in read(tmp_path / 'o/pictures/1.png').reshape(-1, 3).tolist()}
    # BGR; instances are shades of the first colors
    assert shown & {(30, 20, 10), (60, 50, 40), (90, 80, 70), (120, 110, 100)}
    assert run('photos/a/1.png', '--out', 'o', '--style', 'transparent', '--opacity', '0.25',
               *options[2:]).status == 0
    drawn = read(tmp_path / 'o/pictures/1.png', cv2.IMREAD_UNCHANGED)
    assert drawn.shape[2] == 4 and set(np.unique(drawn[..., 3])) <= {0, 64}


def test_pictures_beside_the_truth(run, photos, annotations, tmp_path):
    done = run('photos', '--out', 'o', '--truth', 'truth.json', '--palette', 'colorblind')
    assert done.status == 0, done.err
    assert len(list((tmp_path / 'o/pictures').rglob('*.png'))) == 4
    assert read(next((tmp_path / 'o/pictures').rglob('2.png'))).shape[1] > 3000  # four in a row


def test_images_without_truth_fail_alone(run, photos, annotations, tmp_path):
    content = json.loads(annotations.read_text())
    content['annotations'] = content['annotations'][1:]
    annotations.write_text(json.dumps(content))
    (tmp_path / 'truth' / content['annotations'][0]['file_name']).write_bytes(b'damaged')
    done = run('photos', '--out', 'o', '--truth', 'truth.json')
    assert done.status == 1
    text = ' '.join(done.err + done.out)
    assert 'has no ground truth in truth.json' in text
    assert len(list((tmp_path / 'o/pictures').rglob('*.png'))) == 2


@pytest.mark.parametrize('options, text', [
    (('--palette', 'nothing'), "--palette: palette 'nothing' is no file and none of colorblind"),
    (('--palette', 'p.txt'), '--palette: p.txt has 1 entries'),
    (('--font', 'p.txt'), 'p.txt is no font that can be drawn'),
    (('--font', 'gone.ttf'), 'the font file gone.ttf does not exist'),
    (('--label-size', '50'), '--label-size: label_size is a factor from 0.1 to 10'),
    (('--opacity', '2'), '--opacity'), (('--line-width', '-1'), '--line-width'),
    (('--style', 'nice'), '--style'),
    (('--truth', 'gone.json'), '--truth: gone.json does not exist'),
    (('--truth', 'empty.json'), '--truth: the PNGs of empty.json are in none of'),
    (('--truth', 'objects.json'), '--truth'),
    (('--truth', 'truth.json', '--style', 'transparent'),
     '--style transparent: pictures beside a ground truth have none')])
def test_mistakes(run, photos, annotations, tmp_path, options, text):
    (tmp_path / 'p.txt').write_text('1 2 3\n')
    (tmp_path / 'empty.json').write_text('{}')
    (tmp_path / 'objects').mkdir()
    done = run('photos/a/1.png', '--out', 'o', *options)
    assert done.status != 0 and text in ' '.join(done.err), done.err
    assert not (tmp_path / 'o/pictures').exists()

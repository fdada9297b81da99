"""``mmpanseg browse`` as a user runs it: page, pictures, errors in one line."""
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmpanseg.browse import BrowseOptions, browse, contact_sheet
from mmpanseg.browse.contact_sheet import PANEL_HEIGHT, Cell, write_sheets

from .small_sets import EVIL, NAMES, PIPELINE, SIZE, dataset_of, panoptic_maps, write_panoptic

# longest side of pictures, for tests that do not look at them
SMALL = 96


class Elements(HTMLParser):
    """Names and attributes of the elements of a page, and its text."""

    def __init__(self, path):
        super().__init__()
        self.found, self.text = [], ''
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, name, attributes):
        self.found.append((name, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, name):
        return [attributes for found, attributes in self.found if found == name]


def read(path):
    return json.loads((path / 'browse.json').read_text(encoding='utf-8'))


@pytest.fixture(scope='module')
def run(tmp_path_factory, folder):
    """A run over all images with two samples each."""
    out = tmp_path_factory.mktemp('out') / 'browse'
    done = browse(Config(dict(train_dataloader=dict(dataset=dataset_of(folder)))), BrowseOptions(
        out, draws=2, max_side=2 * SMALL), 'set')
    return out, done


def test_page(run):
    out, done = run
    page = Elements(out / 'index.html')
    cards = page.all('article')
    assert [card['data-name'] for card in cards] == NAMES
    assert [card['id'] for card in cards] == [f'image-{k:06d}' for k in range(6)]
    assert [int(card['data-segments']) for card in cards] == [
        sum(not s['iscrowd'] for s in segments) for _, segments in panoptic_maps()]
    assert page.text.count(EVIL) >= 3  # table, filter, cards: as a text
    assert len(page.all('script')) == 1 and not page.all('b "quoted"')
    links = [a[key] for name, a in page.found for key in ('href', 'src', 'data-plain')
             if a.get(key) and not a[key].startswith('#')]
    assert len(links) == 1 + 6 * 3 * 3 and all((out / unquote(link)).is_file() for link in links)
    anchors = {a['href'][1:] for a in page.all('a') if a['href'].startswith('#')}
    assert anchors == {card['id'] for card in cards}
    written = {path.relative_to(out).as_posix() for path in out.rglob('*') if path.is_file()}
    assert written == {'index.html', 'browse.json', 'contact_sheet.png',
                       *(link for link in links)}
    assert '<b>' not in (out / 'index.html').read_text(encoding='utf-8').split('<article')[2][:200]


def test_numbers_of_the_page(run):
    out, done = run
    content = read(out)
    assert [image['id'] for image in content['images']] == list(range(100, 106))
    for (ids, segments), image in zip(panoptic_maps(), content['images']):
        original = image['views']['original']
        assert original['void_share'] == pytest.approx((ids == 0).mean())
        assert (original['height'], original['width']) == SIZE
        for name in ('draw1', 'draw2'):
            drawn = image['views'][name]
            width, height, x, y = map(int, re.fullmatch(
                r'crop (\d+)x(\d+) at x=(\d+), y=(\d+)', drawn['transforms'][0]).groups())
            part = ids[y:y + height, x:x + width]
            assert (drawn['width'], drawn['height']) == (width, height) == (32, 40)[::-1]
            # crowds become void in training
            assert drawn['void_share'] == pytest.approx(np.isin(part, (0, 31)).mean())
            present = [s for s in segments if not s['iscrowd'] and (part == s['id']).any()]
            assert drawn['num_segments'] == len(present)
            assert drawn['smallest'] == min((part == s['id']).sum() for s in present)


def test_pictures_show_the_masks(config, folder, tmp_path):
    out = tmp_path / 'o'
    browse(config(), BrowseOptions(out, draws=0, indices=(0, )))
    ids, _ = panoptic_maps()[0]
    drawn, plain = (cv2.imread(str(out / f'images/000000_original{kind}.jpg'))
                    for kind in ('', '_plain'))
    assert drawn.shape == plain.shape and max(drawn.shape) == 800
    height, width = drawn.shape[:2]
    large = cv2.resize(ids.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    inside = cv2.erode((large == 1).astype(np.uint8), np.ones((41, 41))) > 0
    outside = cv2.erode((large == 30).astype(np.uint8), np.ones((61, 61))) > 0
    void = cv2.erode((large == 0).astype(np.uint8), np.ones((21, 21))) > 0
    color = drawn[inside].mean(0) - drawn[outside].mean(0)
    assert np.abs(color).max() > 30
    # stripes: neighbors along the diagonal have less contrast than those across it
    ground = 0.65 * plain.mean(2)
    gray = 100 * (drawn.mean(2) - ground) / (255 - ground)
    along, across = (np.abs(gray - np.roll(gray, shift, (0, 1)))[void].mean()
                     for shift in ((8, -8), (8, 8)))
    assert along < 0.6 * across
    original = cv2.imread(str(folder / 'images/a.png'))
    small = cv2.resize(plain, original.shape[1::-1], interpolation=cv2.INTER_AREA)
    # enlarged, written as JPEG and reduced again
    assert np.corrcoef(small.ravel(), original.ravel())[0, 1] > 0.95


def test_same_seed_same_pictures(run, config, tmp_path):
    out, done = run
    browse(config(), BrowseOptions(tmp_path / 'same', draws=2, indices=(3, ),
                                   max_side=2 * SMALL), 'set')
    browse(config(), BrowseOptions(tmp_path / 'other', draws=2, indices=(3, ), seed=1,
                                   max_side=2 * SMALL), 'set')
    for name in ('original', 'draw1', 'draw2'):
        file = f'images/000003_{name}.jpg'
        content = (out / file).read_bytes()
        assert (tmp_path / 'same' / file).read_bytes() == content
        assert ((tmp_path / 'other' / file).read_bytes() == content) == (name == 'original')
    texts = [read(path)['images'][-1]['views'][name]['transforms']
             for path in (tmp_path / 'same', tmp_path / 'other') for name in ('draw1', 'draw2')]
    assert len({tuple(text) for text in texts}) > 1


@pytest.mark.parametrize('kind', ['instance', 'semantic'])
def test_other_kinds(kind, config, verb, tmp_path):
    done = verb(config(kind), '--num', 2, '--size', SMALL, '--out', tmp_path / 'o')
    assert done.status == 0, done.err
    page = Elements(tmp_path / 'o/index.html')
    assert len(page.all('article')) == 2
    # only void is hatched; pixels around instances are background
    assert ('Striped: void' in page.text) == (kind == 'semantic')
    assert ('Objects overlap' in page.text) == (kind == 'instance')
    assert ('a crowd, which' in page.text) == (kind == 'instance')
    assert done.out == f'2 images -> {tmp_path}/o/index.html (contact_sheet.png)\n'


def test_mixed_and_rejecting_pipelines(folder, config, verb, tmp_path):
    wrapped = dict(
        type='mmpanseg.ResamplingMixDataset', dataset=dataset_of(folder, pipeline=PIPELINE[:2]),
        pipeline=[
            dict(type='mmpanseg.LargeScaleJitter', size=SIZE, scale_range=(0.8, 1.2)),
            dict(type='mmpanseg.PanopticCopyPaste', size=SIZE, transforms=[
                dict(type='RandomFlip', prob=1.0)]),
            dict(type='mmpanseg.FilterLabeledPixels', min_pixels=90),
            dict(type='mmpanseg.PackPanopticInputs')])
    assert verb(config(dataset=wrapped), '--draws', 2, '--num', 3, '--size', SMALL, '--out',
                tmp_path / 'o').status == 0
    views = [view for image in read(tmp_path / 'o')['images']
             for name, view in image['views'].items() if name != 'original']
    assert all(re.fullmatch(r'PanopticCopyPaste of .*\.png \(flip horizontal\)',
                            view['transforms'][3]) for view in views)
    assert all(view['height'] == 48 for view in views)


def test_rejected_images_are_named(config, tmp_path):
    counts = [np.count_nonzero(~np.isin(ids[::4, ::4], (0, 31))) for ids, _ in panoptic_maps()]
    least = sorted(counts)[2]
    assert least < max(counts)
    pipeline = [*PIPELINE[:2], dict(type='mmpanseg.FilterLabeledPixels', min_pixels=least),
                PIPELINE[-1]]
    browse(config(pipeline=pipeline), BrowseOptions(tmp_path / 'o', max_side=SMALL))
    images = read(tmp_path / 'o')['images']
    for count, image in zip(counts, images):
        note = image['views']['draw1']['note']
        assert note.startswith('the pipeline rejected this image and loaded') == (count <= least)


def test_pipelines_of_tests_without_ground_truth(config, tmp_path):
    # metrics read the annotation file themselves
    cfg = config('instance', pipeline=[PIPELINE[0], dict(type='Resize', scale=(32, 24)),
                                       PIPELINE[-1]])
    del cfg.train_dataloader.dataset.pipeline[1]
    browse(cfg, BrowseOptions(tmp_path / 'o', num=1, max_side=SMALL))
    views = read(tmp_path / 'o')['images'][0]['views']
    assert views['original']['num_segments'] == 2 and not views['draw1']['has_segments']
    assert Elements(tmp_path / 'o/index.html').text.count('no ground truth loaded') == 1


def test_without_augmentation(config, verb, tmp_path):
    done = verb(config(), '--no-augment', '--index', 2, '--image', '100', '--size', 100, '--out',
                tmp_path / 'o')
    assert done.status == 0
    first, second = read(tmp_path / 'o')['images']
    assert (first['index'], second['id']) == (2, 100) and list(first['views']) == ['original']
    assert cv2.imread(str(tmp_path / 'o/images/000002_original.jpg')).shape == (75, 100, 3)


def test_broken_files_are_cards(tmp_path, config, verb):
    write_panoptic(tmp_path / 'set')
    (tmp_path / 'set/images/a.png').write_bytes(b'')
    (tmp_path / 'set/images/d.png').unlink()
    (tmp_path / 'set/panoptic/4.png').write_bytes(b'no image')
    cv2.imwrite(str(tmp_path / 'set/panoptic/5.png'), np.zeros((*SIZE, 3), np.uint8))
    done = verb(config(where=tmp_path / 'set'), '--size', SMALL, '--out', tmp_path / 'o')
    assert done.status == 1
    assert done.out == f'6 images, 4 with errors -> {tmp_path}/o/index.html (contact_sheet.png)\n'
    lines = done.err.splitlines()
    assert len(lines) == 4 and lines[0].startswith('a.png: ') and 'd.png does not exist' in lines[1]
    assert '4.png' in lines[2] and 'has no pixel in the map' in lines[3]
    images = read(tmp_path / 'o')['images']
    assert [list(image['views']) for image in images] == [
        [], ['original', 'draw1'], ['original', 'draw1'], [], ['original'], ['original']]
    page = Elements(tmp_path / 'o/index.html')
    # one for each card, and one above them
    assert len([a for a in page.all('p') if a.get('class') == 'error']) == 4 + 1
    assert '4 of these images cannot be read completely' in page.text


def test_a_second_run_replaces_the_first(config, tmp_path):
    out = tmp_path / 'o'
    browse(config(), BrowseOptions(out, num=3, max_side=SMALL))
    before = {path.name for path in (out / 'images').iterdir()}
    (out / 'images/.000001_original.4711.partial.jpg').write_bytes(b'')
    browse(config(), BrowseOptions(out, indices=(5, ), max_side=SMALL))
    after = {path.name for path in (out / 'images').iterdir()}
    assert len(before) == 18 and after == {
        f'000005_{name}{kind}.jpg' for name in ('original', 'draw1')
        for kind in ('', '_small', '_plain')}


def make_foreign(out: Path, name: str) -> None:
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_bytes(b'mine')


@pytest.mark.parametrize(('arguments', 'text'), [
    (['--class', 'bal'], "--class bal: the data set has no such class; near names are ball"),
    (['--class', 'zebra'], '--class zebra: the data set has no such class; its classes are ball'),
    (['--image', 'aa.png'], '--image aa.png: no image of the split has this id'),
    (['--index', '9'], '--index 9: the data set has 6 images, numbered 0 .. 5'),
    (['--index', '1', '--worst', 'smallest'], '--index and --image name the images themselves'),
    (['--split', 'val'],
     'the config has no val_dataloader with a dataset: it has train (--split)'),
    (['--channels', '3', '--num', '1'],
     '--channels 3: the images have 3 channels, numbered 0 .. 2'),
    (['--cfg-options', 'train_dataloader.dataset.ann_file=x.json'], 'x.json'),
    (['--cfg-options', 'train_dataloader.dataset.indices=0'], 'has no image')])
def test_mistakes_are_one_line(arguments, text, config, verb, tmp_path):
    done = verb(config(), *arguments, '--out', tmp_path / 'o')
    assert done.status == 1 and len(done.err.splitlines()) == 1
    assert done.err.startswith('mmpanseg browse: error: ') and text in done.err
    assert not (tmp_path / 'o/index.html').exists()


@pytest.mark.parametrize(('arguments', 'text'), [
    (['--channels', '1,2'], 'give one channel, or three'), (['--num', '0'], '--num'),
    (['--worst', 'all'], "'most-segments', 'smallest', 'most-void'")])
def test_wrong_options(arguments, text, config, verb):
    done = verb(config(), *arguments)
    assert done.status == 2 and text in done.err and len(done.err.splitlines()) == 1


@pytest.mark.parametrize(('name', 'with_record'), [
    ('notes.txt', False), ('index.html', False), ('notes.txt', True), ('images/cat.jpg', True)])
def test_files_of_others_stay(name, with_record, config, verb, tmp_path):
    out = tmp_path / 'o'
    if with_record:
        browse(config(), BrowseOptions(out, num=1, max_side=SMALL))
    make_foreign(out, name)
    done = verb(config(), '--out', out)
    assert done.status == 1 and len(done.err.splitlines()) == 1
    assert '`mmpanseg browse` did not write' in done.err and name in done.err
    assert (out / name).read_bytes() == b'mine'
    assert (out / 'index.html').exists() == (with_record or name == 'index.html')


def test_out_is_a_file(config, verb, tmp_path):
    (tmp_path / 'o').write_text('x')
    assert f'--out {tmp_path}/o is a file' in verb(config(), '--out', tmp_path / 'o').err


def test_several_classes_after_one_option(config, verb, tmp_path):
    done = verb(config(), '--class', EVIL, 'sky', '--worst', 'most-segments', '--num', 2, '--size',
                SMALL, '--out', tmp_path / 'o')
    assert done.status == 0
    assert [image['index'] for image in read(tmp_path / 'o')['images']] == [2, 3]


@pytest.mark.parametrize('channels', [1, 5])
def test_any_channels_and_bits(channels, tmp_path, config):
    write_panoptic(tmp_path / 'set')
    rng = np.random.default_rng(0)
    for name in NAMES:
        (tmp_path / 'set/images' / name).unlink()
    content = json.loads((tmp_path / 'set/panoptic.json').read_text())
    for k, image in enumerate(content['images']):
        image['file_name'] = f'{k}.npy'
        ramp = np.linspace(2000, 9000, SIZE[1])[None, :, None] + 0 * rng.random((*SIZE, channels))
        np.save(tmp_path / f'set/images/{k}.npy', ramp.astype(np.uint16))
    (tmp_path / 'set/panoptic.json').write_text(json.dumps(content))
    pipeline = [dict(type='mmpanseg.LoadChannels'), PIPELINE[1],
                dict(type='RandomFlip', prob=1.0), PIPELINE[-1]]
    shown = (channels - 1, ) if channels == 5 else ()
    browse(config(pipeline=pipeline, where=tmp_path / 'set'),
           BrowseOptions(tmp_path / 'o', num=1, channels=shown, max_side=4 * SMALL))
    images = read(tmp_path / 'o')['images']
    assert not any(image['errors'] for image in images)
    assert images[0]['views']['draw1']['transforms'] == ['flip horizontal']
    stem = f'{images[0]["index"]:06d}'
    plain, flipped = (cv2.imread(str(tmp_path / f'o/images/{stem}_{name}_plain.jpg')).mean((0, 2))
                      for name in ('original', 'draw1'))
    # from black to white, and back
    assert plain[0] < 10 and plain[-1] > 245 and (np.diff(plain[::16]) > 0).all()
    assert np.abs(flipped - plain[::-1]).max() < 4


def test_contact_sheets(tmp_path, monkeypatch):
    colors = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    for k, color in enumerate(colors):
        cv2.imwrite(str(tmp_path / f'{k}.png'), np.full(
            (60, 40 + 400 * k, 3), color[::-1], np.uint8))
    cells = [Cell('a' * 200, [tmp_path / '0.png', tmp_path / '1.png']), Cell('b', [], EVIL * 9),
             Cell('c', [tmp_path / '2.png'])]
    assert write_sheets(tmp_path / 'o', cells) == ['contact_sheet.png']
    sheet = cv2.imread(str(tmp_path / 'o/contact_sheet.png'))[..., ::-1]
    areas = [int((sheet == color).all(2).sum()) for color in colors]
    # panels of one height, at most three times as wide
    assert areas[0] == PANEL_HEIGHT * 160 and areas[1:] == [
        (3 * PANEL_HEIGHT) * round(60 * 3 * PANEL_HEIGHT / width) for width in (440, 840)]
    monkeypatch.setattr(contact_sheet, 'IMAGES', 2)
    assert write_sheets(tmp_path / 'many', cells) == [
        'contact_sheet_1.png', 'contact_sheet_2.png']

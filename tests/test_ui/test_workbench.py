"""Predictions and fusions of a page equal those of a predictor; what is said meanwhile; errors."""
import base64
import dataclasses
import gc
import weakref

import cv2
import numpy as np
import pytest

import mmpanseg
from mmpanseg.engine.command_line import UsageError
from mmpanseg.results.flat_map import flatten
from mmpanseg.ui.limits import InputError, Limits
from mmpanseg.ui.model_shelf import ModelShelf, given_models
from mmpanseg.ui.rules import KNOBS, default_values, fitting_rules, fusion_config
from mmpanseg.ui.session import Session, Sessions
from mmpanseg.ui.view import view_size
from mmpanseg.ui.workbench import Workbench, safely
from mmpanseg.video import video_file


def decode_map(view):
    png = base64.b64decode(view['map'].partition(',')[2])
    blue, green, red = np.moveaxis(cv2.imdecode(np.frombuffer(png, np.uint8),
                                                cv2.IMREAD_UNCHANGED).astype(int), 2, 0)
    assert not blue.any()
    return red + 256 * green


@pytest.fixture(scope='module')
def predictor(model_files):
    config, _, weights = model_files('mask2former').partition(',')
    return mmpanseg.load(config, weights, device='cpu')


@pytest.mark.parametrize('task', ['panoptic', 'instance', 'semantic'])
@pytest.mark.parametrize('rule', ['pixelwise', 'mask_wise', 'heuristic'])
def test_result_is_that_of_a_predictor(bench, settings, picture, predictor, task, rule):
    values = [0.1 if knob.high == 1 else knob.low if knob.high else True for knob in KNOBS[rule]]
    session = Session()
    chosen = dataclasses.replace(settings, task=task, rule=rule, values=values, min_score=0.2)
    *said, view = bench.predict_image(session, chosen, picture, 'x.png')
    assert [update['state'] for update in said[-2:]] == ['working', 'working']
    options = {} if task == 'semantic' else dict(fusion=fusion_config(rule, values))
    expected = predictor(picture, task=task, **options)
    if task == 'instance':
        expected = expected.filter(min_score=0.2)
    ids, segments = flatten(expected)
    assert len(segments) > (task != 'semantic')
    assert [(one['label'], one['area']) for one in view['segments']] == [
        (one.label, one.area) for one in segments]
    assert view['segments'][0]['score'] == (
        None if task == 'semantic' else pytest.approx(segments[0].score, abs=1e-4))
    found = decode_map(view)
    for position, segment in enumerate(segments):
        np.testing.assert_array_equal(found == position + 1, ids == segment.id)


def test_thresholds_run_the_fusion_only(bench, settings, shown, monkeypatch):
    session, first = shown
    monkeypatch.setattr(type(bench.shelf.get(settings.model).model), 'predict_queries', None)
    counts = []
    for score in (0.0, 0.3, 0.6, 0.99, 0.0):
        view, = bench.fuse(session, dataclasses.replace(
            settings, values=(score, 0.3, True, True)))
        assert set(view['times']) == {'fuse'}
        counts.append(len(view['segments']))
    assert counts[0] == counts[-1] == len(first['segments']) and counts[3] < counts[0]
    assert counts == sorted(counts[:4], reverse=True) + counts[4:]
    assert session.logits[1].kept_bytes == 24 * 120 * 160 * 4  # 24 queries


def test_kept_masks_stay_within_their_limit(shelf, settings, picture, predictor):
    bench = Workbench(shelf, Limits(mask_bytes=3 * 120 * 160 * 4))
    session = Session()
    *_, view = bench.predict_image(session, settings, picture, 'x.png')
    assert session.logits[1].kept_bytes == 3 * 120 * 160 * 4
    expected = predictor(picture, fusion=fusion_config('pixelwise', settings.values))
    assert [one['area'] for one in view['segments']] == [one.area for one in expected]


def test_another_model_predicts_the_image_again(bench, settings, shown, choices):
    session, _ = shown
    other = choices[1].name
    model = weakref.ref(bench.shelf.get(settings.model).model)
    chosen = dataclasses.replace(settings, model=other, rule='kmax',
                                 values=[0, 0, 0, 0.1, 1, 1, 0, 0])
    said = list(bench.fuse(session, chosen))
    assert said[0]['text'] == f'Loading {other}' and said[-1]['model'] == other
    assert 'load' in said[-1]['times'] and session.logits[0] == other
    gc.collect()
    assert bench.shelf.is_loaded(other) and not bench.shelf.is_loaded(settings.model)
    assert model() is None  # its memory is free


def test_rules_and_their_values(bench, choices):
    mask2former = bench.shelf.get(choices[0].name)
    assert fitting_rules(mask2former)[0] == 'pixelwise'
    assert default_values(mask2former, 'pixelwise') == [0.0, 0.3, True, True]
    assert default_values(mask2former, 'mask_wise') == [0.25, 0.25, 0.6, 0.6, 1, 2]
    kmax = bench.shelf.get(choices[1].name)
    assert fitting_rules(kmax)[0] == 'kmax'
    for rule in fitting_rules(kmax):
        head = kmax.fusion_head(fusion=fusion_config(rule, default_values(kmax, rule)))
        assert default_values(kmax, rule) == [knob.value(head) for knob in KNOBS[rule]]
    with pytest.raises(ValueError, match='Score is 2'):
        fusion_config('pixelwise', (2, 0.3, True, True))
    with pytest.raises(ValueError, match='outside'):
        fusion_config('pixelwise', ('0.3', 0.3, True, True))


@pytest.mark.parametrize('data, text', [
    (b'', 'is empty'), (b'no image', 'is no image that can be read'),
    (b'\x89PNG\r\n\x1a\n' + bytes(40), 'is no image that can be read')])
def test_bad_images(bench, settings, data, text):
    session = Session()
    update, = safely(bench.predict_image(session, settings, data, 'bad.png'))
    assert update['state'] == 'error' and update['text'].startswith('bad.png')
    assert text in update['text'] and session.data is None


def test_an_image_that_breaks_off(bench, settings, picture):
    *_, update = safely(bench.predict_image(Session(), settings, picture[:200], 'half.png'))
    assert update['state'] == 'error' and 'half.png' in update['text']
    assert 'Traceback' not in update['text'] and '\n' not in update['text']


def test_limits_of_images(shelf, settings, picture):
    for limits, text in ((Limits(num_bytes=100), 'more than the limit of 100 bytes'),
                         (Limits(pixels=19199), '160 x 120 pixels')):
        with pytest.raises(InputError, match=text):
            list(Workbench(shelf, limits).predict_image(Session(), settings, picture, 'x.png'))
    Limits(pixels=19200).check_image(picture, 'x.png')


def test_errors_that_nobody_expects_are_messages(capsys):
    def steps():
        yield dict(state='working')
        raise ZeroDivisionError('secret')
    _, update = safely(steps())
    assert update['state'] == 'error' and 'ZeroDivisionError' in update['text']
    assert 'secret' not in update['text'] and 'secret' in capsys.readouterr().err


def make_video(path, count=5, rate=10):
    rng = np.random.default_rng(1)
    start = cv2.resize(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8), (200, 96))
    with video_file(path, rate) as video:
        for shift in range(count):
            video.write(start[:, 4 * shift:4 * shift + 128])
    return path


def test_video(bench, settings, tmp_path):
    path, session = make_video(tmp_path / 'clip.mp4'), Session()
    *said, view = bench.predict_video(session, settings, path, 'clip.mp4')
    assert [one['text'] for one in said][-1] == 'Predicted frame 5 of 5'
    assert view['frames'] == len(session.frames) == 5 and view['rate'] == 10
    assert [frame.seconds for frame in session.frames] == [0, 0.1, 0.2, 0.3, 0.4]
    note, = bench.fuse(session, settings)
    assert note['state'] == 'note'


def test_long_videos(shelf, settings, tmp_path):
    path, session = make_video(tmp_path / 'clip.mp4', 9), Session()
    bench = Workbench(shelf, Limits(frames=4, seconds=1))
    *_, view = bench.predict_video(session, settings, path, 'clip.mp4')
    assert view['frames'] == 3 and session.frames[1].seconds == pytest.approx(0.3)
    with pytest.raises(InputError, match='clip.mp4 takes 1 s, the limit is 0.5 s'):
        list(Workbench(shelf, Limits(seconds=0.5)).predict_video(
            session, settings, path, 'clip.mp4'))
    (tmp_path / 'no.mp4').write_bytes(b'no video at all')
    with pytest.raises(InputError, match='^no.mp4 cannot be read as a video'):
        list(bench.predict_video(session, settings, tmp_path / 'no.mp4', 'no.mp4'))


def test_models_of_the_command_line(model_files, tmp_path):
    text = model_files('mask2former')
    first, second = given_models([text, text])
    assert first.name.endswith('/mask2former') and second.name == f'{first.name} (2)'
    assert first.weights.endswith('.pth')
    with pytest.raises(UsageError, match='--model nothing-like-it is neither a file'):
        given_models(['nothing-like-it'])
    with pytest.raises(UsageError, match='gone.pth'):
        given_models([f'{text.partition(",")[0]},{tmp_path}/gone.pth'])
    with pytest.raises(UsageError, match='none of the models'):
        ModelShelf([first]).get('/etc/passwd')


def test_only_the_last_pages_are_kept():
    sessions = Sessions(2)
    first = sessions.open('a')
    first.clear('x', b'data')
    sessions.open('b')
    assert sessions.find(first.token) is first and sessions.open('a') is first
    second = sessions.open('b').token
    sessions.open('a')
    sessions.open('c')
    assert sessions.find(second) is None and sessions.find(first.token) is first
    sessions.close('a')
    assert first.data is None and sessions.find(first.token) is None
    sessions.close('a')


@pytest.mark.parametrize('size, expected', [
    ((480, 640), (480, 640)), ((3000, 4000), (1200, 1600)), ((1, 9000), (1, 1600))])
def test_size_of_what_is_drawn(size, expected):
    assert view_size(size) == expected

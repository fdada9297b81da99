"""The page as a person uses it, in a headless browser."""
import base64
import io
import json
import re
import time
import zipfile
from urllib.error import HTTPError
from urllib.request import urlopen

import cv2
import numpy as np
import pytest
from PIL import Image

import mmpanseg
from mmpanseg.ui.rules import fusion_config

from .test_workbench import make_video

pytestmark = pytest.mark.slow
DONE = 'document.querySelector(".viewer")?.dataset.state == "done"'


@pytest.fixture
def page(chromium, served):
    with chromium.open(served.address, size=(1280, 900)) as opened:
        ready(opened)
        yield opened
        assert opened.requests_elsewhere == []


def ready(page):
    page.wait_for('document.querySelectorAll(".example img").length == 4 '
                  '&& !document.querySelector(".wrap.full.translucent")')


@pytest.fixture(scope='session')
def photo(picture, tmp_path_factory):
    path = tmp_path_factory.mktemp('photo') / 'my photo.png'
    path.write_bytes(picture)
    return path


@pytest.fixture(scope='module')
def expected(model_files, photo):
    """Result of a predictor with some thresholds."""
    config, _, weights = model_files('mask2former').partition(',')
    predictor = mmpanseg.load(config, weights, device='cpu')
    return lambda *values: predictor(str(photo), fusion=fusion_config('pixelwise', values))


def upload(page, photo):
    before = drawn(page)
    page.upload('#source input[type=file]', photo)
    page.wait_for(lambda: drawn(page) > before)
    page.wait_for(DONE)


def drawn(page):
    return int(page.evaluate('Number(document.querySelector(".viewer")?.dataset.drawn || 0)'))


def tint(page):
    """Colors that the page draws, [h, w, 4]."""
    address = page.evaluate('document.querySelector(".tint").toDataURL()')
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(',')[2]))))


def move_slider(page, name, value):
    before = drawn(page)
    page.set_slider(f'{name} input[type=range]', value)
    page.wait_for(lambda: drawn(page) > before)
    page.wait_for(DONE)


def count_segments(page):
    """Number of segments that the page lists."""
    return page.evaluate('document.querySelectorAll(".rows .row").length')


def spot(result, segment):
    """Point inside a segment, shares of width and height: the farthest one from its border."""
    mask = np.pad(segment.mask(), 1).astype(np.uint8)
    y, x = np.unravel_index(cv2.distanceTransform(mask, cv2.DIST_L2, 5).argmax(), mask.shape)
    return (x - 0.5) / result.size[1], (y - 0.5) / result.size[0]


def test_upload_hover_and_isolate(page, served, photo, expected):
    upload(page, photo)
    result = expected(0.0, 0.3, True, True)
    assert count_segments(page) == len(result) > 1
    segment = max(result, key=lambda one: one.area)
    share = segment.area / 19200
    page.hover('.pane', at=spot(result, segment))
    text = page.wait_for('document.querySelector(".tip:not([hidden])")?.innerText')
    digits = 0 if share >= 0.0995 else 1
    assert text == (f'{segment.name} · score {segment.score:.2f} · {segment.area:,} px '
                    f'({100 * share:.{digits}f} %)')
    # all colors, at the places of the segments
    colors = tint(page)
    assert colors.shape[0] % 120 == 0 and (colors[..., 3] > 0).mean() == pytest.approx(
        (result.panoptic_map > 0).mean(), abs=0.02)
    page.click('.pane', at=spot(result, segment))
    alone = tint(page)
    assert (alone[..., 3] > 0).mean() == pytest.approx(share, abs=0.02)
    assert page.text('.facts').startswith(f'Only {segment.name}')
    page.press('Escape')
    page.wait_for(lambda: np.array_equal(tint(page), colors))
    # nothing of the image is on the disk, while the page is open
    assert served.files() == []
    assert page.errors == []


def test_slider_changes_the_picture(page, photo, expected):
    upload(page, photo)
    requests = len(page.requests)
    before = tint(page)
    scores = sorted(one.score for one in expected(0.0, 0.3, True, True))
    middle = round((scores[0] + scores[-1]) / 2, 2)
    move_slider(page, '#pixelwise-object_mask_thr', middle)
    assert not np.array_equal(tint(page), before)
    assert count_segments(page) == len(expected(middle, 0.3, True, True))
    move_slider(page, '#pixelwise-object_mask_thr', 1)
    assert count_segments(page) == 0 and not tint(page).any()
    assert '0 segments' in page.text('.facts') and 'fused in' in page.text('.facts')
    assert 'predicted' not in page.text('.facts')
    # no image is sent again
    assert not [one for one in page.requests[requests:] if '/image/' in one]
    before = drawn(page)
    page.click('#reset')
    page.wait_for(lambda: drawn(page) > before)
    assert count_segments(page) == len(expected(0.0, 0.3, True, True))


def test_opacity_and_classes_without_the_server(page, photo, expected):
    upload(page, photo)
    result = expected(0.0, 0.3, True, True)
    requests = len(page.requests)
    page.set_slider('.opacity', 20)
    assert page.evaluate('document.querySelector(".tint").style.opacity') == '0.2'
    assert page.text('.percent') == '20 %'
    name = result[0].name
    page.click('.chip', text=name)
    area = sum(one.area for one in result if one.name != name)
    page.wait_for(lambda: abs((tint(page)[..., 3] > 0).mean() - area / 19200) < 0.02)
    page.hover('.pane', at=spot(result, result[0]))
    assert page.wait_for('document.querySelector(".tip:not([hidden])")?.innerText') == (
        f'{name} · off')
    page.click('.none')
    assert not tint(page).any()
    page.click('.all')
    assert (tint(page)[..., 3] > 0).any()
    assert page.requests[requests:] == []


def test_downloads(page, photo, expected):
    upload(page, photo)
    result = expected(0.0, 0.3, True, True)
    result.file_name = photo.name

    def saved(text):
        return page.download(lambda: page.click('.file', text=text)).read_bytes()

    with zipfile.ZipFile(io.BytesIO(saved('COCO'))) as archive:
        panoptic = json.loads(archive.read('panoptic.json'))
        png = np.asarray(Image.open(io.BytesIO(archive.read('panoptic/my photo.png'))))
        instances = json.loads(archive.read('instances.json'))
    expected_png, annotation = result.to_coco_panoptic()
    np.testing.assert_array_equal(png, expected_png)
    assert panoptic['annotations'] == [json.loads(json.dumps(annotation))]
    assert instances == json.loads(json.dumps(result.to_coco_instances()))
    shapes = json.loads(saved('Polygons'))['shapes']
    assert [np.array(one['points']).tolist() for one in shapes] == [
        part.tolist() for one in result for part in one.polygons()]
    page.set_slider('.opacity', 90)
    picture = np.asarray(Image.open(io.BytesIO(saved('Picture'))))
    np.testing.assert_array_equal(picture, result.plot(alpha=0.9, min_score=0))
    # without a class that is off
    page.click('.chip', text=result[0].name)
    rest = json.loads(saved('Polygons'))['shapes']
    assert {one['label'] for one in rest} == {one.name for one in result} - {result[0].name}


def test_bad_files(page, tmp_path, photo):
    cases = dict(words=b'just words', half=photo.read_bytes()[:300], empty=b'')
    for name, data in cases.items():
        path = tmp_path / f'{name}.png'
        path.write_bytes(data)
        page.upload('#source input[type=file]', path)
        page.wait_for('[...document.querySelectorAll(".trouble:not([hidden])")].some('
                      f'e => e.innerText.includes("{name}.png"))')
        assert 'Traceback' not in page.text('body') and '/tmp' not in page.text('.trouble')
        page.click('.dismiss')
        assert page.count('.trouble') == 0
    # and then a good one
    upload(page, photo)


def test_a_large_file_is_not_sent(page, tmp_path, photo):
    """The page refuses what is above the server's limit, by whatever way it comes."""
    large = tmp_path / 'large.png'
    large.write_bytes(bytes(2_000_000))
    requests = len(page.requests)
    for act in (lambda: page.upload('#source input[type=file]', large),
                lambda: page.drop(large, '#source button'), lambda: page.paste(large),
                lambda: page.drop(large, '.stage')):
        act()
        page.wait_for(lambda: page.count('.trouble') == 1)
        assert page.text('.trouble').split('\n')[0].strip() == (
            'That did not work. large.png has 2.0 MB, more than the limit of 1.0 MB (option '
            '--max-mb of the server). Choose a smaller file.')
        page.click('.dismiss')
        assert page.count('.trouble') == 0
    page.click('button[role=tab]', text='Video')
    page.upload('#video input[type=file]', large.rename(tmp_path / 'large.mp4'))
    page.wait_for(lambda: page.count('.trouble') == 1 and 'large.mp4' in page.text('.trouble'))
    assert page.requests[requests:] == []
    assert not page.evaluate('/exceed/i.test(document.body.innerText)')  # nor gradio's own words
    page.click('button[role=tab]', text='Image')
    upload(page, photo)
    assert page.count('.trouble') == 0


@pytest.mark.parametrize('way', ['paste', 'drop'])
def test_paste_and_drop(page, served, photo, expected, way):
    before = drawn(page)
    getattr(page, way)(photo, dict(paste='body', drop='.stage')[way])
    page.wait_for(lambda: drawn(page) > before and page.evaluate(DONE))
    result = expected(0.0, 0.3, True, True)
    assert page.text('.facts').startswith(f'{photo.name} · 160 × 120 · {len(result)} segments')
    # also on a picture, and the mark of what may be dropped is gone
    before = drawn(page)
    getattr(page, way)(photo, dict(paste='body', drop='.pane')[way])
    page.wait_for(lambda: drawn(page) > before and page.evaluate(DONE))
    assert page.count('.here') == 0 and served.files() == [] and page.errors == []


def test_drop_of_a_video(page, served, tmp_path):
    page.drop(make_video(tmp_path / 'clip.mp4'), '.stage', 'video/mp4')
    page.wait_for(lambda: 'clip.mp4' in page.text('.facts') and page.evaluate(DONE))
    assert page.text('.moment') == '1 / 5' and served.files() == []


def test_drop_of_another_file(page, tmp_path):
    (tmp_path / 'notes.txt').write_text('just words')
    page.drop(tmp_path / 'notes.txt', '.stage', 'text/plain')
    page.wait_for(lambda: page.count('.trouble') == 1)
    assert 'notes.txt is no image that can be read' in page.text('.trouble')


def test_camera(page, served):
    page.click('#source button[aria-label="Capture from camera"]')
    page.click('#source button', text='Webcam')
    page.wait_for('document.querySelector("#source video")?.videoWidth > 0')
    size = page.evaluate('[document.querySelector("#source video").videoWidth, '
                         'document.querySelector("#source video").videoHeight]')
    page.click('#source button[aria-label="capture photo"]')
    page.wait_for(lambda: drawn(page) > 0 and page.evaluate(DONE))
    assert f' · {size[0]} × {size[1]} · ' in page.text('.facts')
    # the pattern of the camera, not an empty picture
    assert page.evaluate("""(() => {
      const canvas = document.createElement('canvas'), photo = document.querySelector('.photo');
      const context = canvas.getContext('2d');
      context.drawImage(photo, 0, 0, 300, 150);
      const pixels = context.getImageData(0, 0, 300, 150).data.buffer;
      return new Set(new Uint32Array(pixels)).size; })()""") > 8
    assert count_segments(page) > 0 and served.files() == []


def test_isolated_segment_stays_while_it_is_there(page, photo, expected):
    """A moved threshold keeps it by its class and place, whatever its number is then."""
    upload(page, photo)
    before = expected(0.0, 0.3, True, True)
    # the best segment has another number when others before it are gone
    best = max(before, key=lambda one: one.score)
    low = sorted(one.score for one in before)
    limit = round((low[-2] + low[-1]) / 2, 2)
    after, = expected(limit, 0.3, True, True)
    assert after.name == best.name and (after.mask() & best.mask()).sum() > best.area / 2
    page.click('.pane', at=spot(before, best))
    assert page.text('.facts').startswith(f'Only {best.name} · score {best.score:.2f}')
    middle = round((low[0] + low[1]) / 2, 3)
    move_slider(page, '#pixelwise-object_mask_thr', round(middle, 2))
    rest = expected(round(middle, 2), 0.3, True, True)
    again = max(rest, key=lambda one: one.score)
    assert 1 < len(rest)
    assert page.text('.facts').startswith(f'Only {best.name} · score {best.score:.2f} · '
                                          f'{again.area:,} px')
    assert (tint(page)[..., 3] > 0).mean() == pytest.approx(again.area / 19200, abs=0.02)
    assert page.count('.isolating') == 1
    # without it all are shown
    other = min(before, key=lambda one: one.score)
    page.press('Escape')
    page.click('#reset')
    page.wait_for(lambda: count_segments(page) == len(before))
    page.click('.pane', at=spot(before, other))
    assert page.text('.facts').startswith(f'Only {other.name} · score {other.score:.2f}')
    move_slider(page, '#pixelwise-object_mask_thr', limit)
    assert count_segments(page) == 1 and page.count('.isolating') == 0
    assert ' · 1 segment · ' in page.text('.facts')
    assert (tint(page)[..., 3] > 0).mean() == pytest.approx(after.area / 19200, abs=0.02)


def test_tasks_rules_and_models(page, photo):
    upload(page, photo)
    assert page.count('#knobs-pixelwise') == 1 and page.count('#knobs-kmax') == 0
    before = drawn(page)
    page.click('#task label', text='Instances')
    page.wait_for(lambda: drawn(page) > before and page.count('#min-score') == 1)
    assert page.count('#rule') == 0 and page.count('#knobs-pixelwise') == 0
    move_slider(page, '#min-score', 1)
    assert count_segments(page) == 0
    before = drawn(page)
    page.click('#task label', text='Semantic')
    page.wait_for(lambda: drawn(page) > before)
    assert page.count('#min-score') == 0 and count_segments(page) >= 1
    before = drawn(page)
    page.click('#task label', text='Panoptic')
    page.wait_for(lambda: drawn(page) > before)
    page.click('#model input')
    page.click('[role=option]', text='kmax_deeplab')
    page.wait_for(lambda: page.count('#knobs-kmax') == 1 and page.count('#knobs-pixelwise') == 0)
    page.wait_for(lambda: 'predicted in' in page.text('.facts') and page.evaluate(DONE))
    move_slider(page, '#kmax-score_thr-things', 0)
    page.click('#model input')
    page.click('[role=option]', text='mask2former')
    page.wait_for(lambda: page.count('#knobs-pixelwise') == 1)
    page.wait_for(DONE)


def test_example_and_video(page, tmp_path):
    page.click('.example', nth=2)
    page.wait_for(lambda: 'example3.png · 640 × 480' in page.text('.facts'))
    page.click('button[role=tab]', text='Video')
    page.upload('#video input[type=file]', make_video(tmp_path / 'clip.mp4'))
    page.wait_for(lambda: 'clip.mp4' in page.text('.facts') and page.evaluate(DONE))
    assert page.text('.moment') == '1 / 5'
    first = tint(page)
    page.set_slider('.position', 4)
    page.wait_for(lambda: page.text('.moment') == '5 / 5')
    page.wait_for(lambda: not np.array_equal(tint(page), first))
    page.click('.play')
    page.wait_for(lambda: page.text('.moment') != '5 / 5')
    page.click('.play')
    saved = page.download(lambda: page.click('.file', text='Video'))
    capture = cv2.VideoCapture(str(saved))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    capture.release()


def test_nothing_remains_after_the_page_is_closed(chromium, served, photo):
    with chromium.open(served.address) as page:
        ready(page)
        upload(page, photo)
        address = page.evaluate('document.querySelector(".photo").src')
        assert page.evaluate(f'fetch("{address}").then(a => a.status)') == 200
        files = page.evaluate('document.querySelector(".file").href')
    end = time.monotonic() + 40
    while True:
        try:
            urlopen(address).close()
        except HTTPError as error:
            assert error.code == 404
            break
        assert time.monotonic() < end, 'the image is still there'
        time.sleep(0.3)
    with pytest.raises(HTTPError):
        urlopen(files)
    # the server may not know yet that pages of other tests are closed
    while served.files():
        assert time.monotonic() < end, served.files()
        time.sleep(0.3)


def test_reports(page):
    page.click('button[role=tab]', text='Reports')
    page.wait_for('document.querySelector("#report-frame iframe")?.src.includes("p0-first")')
    assert page.evaluate('document.querySelector("#report-frame iframe").sandbox.value') == (
        'allow-scripts allow-downloads')
    # out of reach for the page around it
    assert page.evaluate('document.querySelector("#report-frame iframe").contentDocument') is None
    page.evaluate('window.heard = []; addEventListener("message", e => heard.push('
                  'e.data + " " + e.origin))')
    page.click('#report input')
    page.click('[role=option]', text='second')
    page.wait_for('document.querySelector("#report-frame iframe")?.src.includes("p0-second")')
    # its script runs, with an origin of its own
    page.wait_for('heard.includes("second null")')


def test_dark_and_light(chromium, served):
    def brightness(page):
        numbers = re.findall(r'[\d.]+', page.evaluate(
            'getComputedStyle(document.querySelector(".stage")).backgroundColor'))
        return sum(map(float, numbers[:3]))

    with chromium.open(served.address, dark=True) as page:
        ready(page)
        page.wait_for(lambda: brightness(page) < 200)
        page.click('#theme .switch')
        page.wait_for(lambda: brightness(page) > 600)
        page.go(served.address)
        ready(page)
        page.wait_for(lambda: brightness(page) > 600)  # the choice stays


def test_phone(chromium, served, photo):
    with chromium.open(served.address, size=(390, 844), phone=True) as page:
        ready(page)
        upload(page, photo)
        assert page.evaluate('document.documentElement.scrollWidth') <= 390
        boxes = [page.evaluate(f'document.querySelector("{name}").getBoundingClientRect().top')
                 for name in ('#inputs', '#result', '#controls')]
        assert boxes == sorted(boxes)
        assert page.evaluate('document.querySelector(".pane").clientWidth') > 280


def test_the_server_asked_nobody(served):
    """Runs last: the tests above used everything."""
    assert served.spied.read_text() == ''

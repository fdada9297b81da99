"""Checks of panoptic PNGs and label maps, against definitions with a mask of every segment."""
import io

import cv2
import numpy as np
import pytest
from PIL import Image

from mmpanseg.doctor.pixels.inspect_image import inspect_image
from mmpanseg.doctor.pixels.map_runs import MapRuns
from mmpanseg.doctor.pixels.pieces import far_parts
from mmpanseg.doctor.problem import Severity
from mmpanseg.doctor.run import run_doctor
from mmpanseg.doctor.source import ImageRecord, Options, Source
from mmpanseg.structures.panoptic_png import id2rgb, rgb2id

from ..planted_mistakes import encode, jpg, photo, png, rotated

HEIGHT, WIDTH = 80, 120
IMAGE = photo(np.random.default_rng(1), HEIGHT, WIDTH)
SKY, LAND, CAR, TREE = 3, 300, 70_000, 90_001
THING = 5
PANOPTIC = Source('train', 'panoptic', 'a.json', 'images', 'maps')
SEMANTIC = Source('train', 'semantic', '', 'images', 'maps', classes=('a', 'b', 'c', 'd'))


def clean_ids():
    ids = np.full((HEIGHT, WIDTH), SKY, np.int32)
    ids[50:] = LAND
    ids[40:60, 10:40] = CAR
    ids[20:55, 70:90] = TREE
    return ids


def segments_of(ids):
    """Segments by a mask of each, in COCO's form."""
    found = []
    for number in np.unique(ids[ids > 0]).tolist():
        y, x = np.nonzero(ids == number)
        found.append(dict(
            id=number, category_id=THING if number > 1000 else 1, iscrowd=0, area=len(x),
            bbox=[int(x.min()), int(y.min()), int(np.ptp(x)) + 1, int(np.ptp(y)) + 1]))
    return found


def inspect(folder, map_data, segments=(), source=PANOPTIC, image=IMAGE, **options):
    (folder / 'a.jpg').write_bytes(jpg(image, **options))
    (folder / 'a.png').write_bytes(map_data)
    record = ImageRecord(7, 'a.jpg', str(folder / 'a.jpg'), annotation_path=str(folder / 'a.png'),
                         annotation_name='a.png', segments=tuple(segments),
                         things=frozenset([THING]))
    return inspect_image(record, source, Options())


def places(findings):
    return [(p.check, p.segment_id) for p in findings.problems]


def test_a_clean_map(tmp_path):
    ids = clean_ids()
    ids[:, 110:] = 0
    segments = segments_of(ids)
    segments[-1]['iscrowd'] = 1
    findings = inspect(tmp_path, png(id2rgb(ids)), segments)
    assert findings.problems == []
    statistics = findings.statistics
    assert statistics.pixels == {1: int(((ids == SKY) | (ids == LAND)).sum()),
                                 THING: int((ids > 1000).sum())}
    assert statistics.segments == {1: 2, THING: 1} and statistics.num_segments == 3
    assert statistics.void_share == (ids == 0).mean()
    assert statistics.crowd_share == (ids == TREE).mean()


@pytest.mark.parametrize(('data', 'check', 'severity', 'text'), [
    (b'', 'PAN201', 3, ''), (png(id2rgb(clean_ids()))[:-100], 'PAN202', 3, 'middle'),
    (encode(id2rgb(clean_ids()), 'BMP'), 'PAN203', 3, 'BMP'), (b'hello', 'PAN203', 3, 'no image'),
    (jpg(id2rgb(clean_ids())), 'PAN225', 3, 'JPEG'),
    (png(clean_ids().astype(np.uint8)), 'PAN204', 3, 'gray of 8 bits'),
    (png(clean_ids().astype(np.uint16)), 'PAN205', 3, 'gray of 16 bits'),
    (cv2.imencode('.png', id2rgb(clean_ids()).astype(np.uint16))[1].tobytes(), 'PAN205', 3, 'RGB'),
    (png(np.dstack([id2rgb(clean_ids()), np.full((HEIGHT, WIDTH), 255, np.uint8)])), 'PAN206', 1,
     'alpha')])
def test_files_of_maps(tmp_path, data, check, severity, text):
    findings = inspect(tmp_path, data, segments_of(clean_ids()))
    problem, = findings.problems
    assert (problem.check, problem.severity, problem.file) == (check, Severity(severity), 'a.png')
    assert (problem.image_id, problem.segment_id) == (7, None) and text in problem.text


def test_a_gray_map_whose_values_are_the_ids(tmp_path):
    ids = np.where(clean_ids() == SKY, 3, 4)
    problem, = inspect(tmp_path, png(ids.astype(np.uint8)), segments_of(ids)).problems
    assert problem.check == 'PAN204' and 'are the ids of the JSON' in problem.text


@pytest.mark.parametrize('by_color', [True, False])
def test_palettes(tmp_path, by_color):
    indices = np.where(clean_ids() == SKY, 3, 4).astype(np.uint8)
    image = Image.fromarray(indices, 'P')
    palette = np.zeros((256, 3), np.uint8)
    palette[3:5] = id2rgb(np.array([SKY, CAR])) if by_color else 7
    image.putpalette(palette.ravel().tolist())
    file = io.BytesIO()
    image.save(file, 'PNG')
    ids = np.where(indices == 3, SKY, CAR) if by_color else indices
    problem, = inspect(tmp_path, file.getvalue(), segments_of(ids)).problems
    assert problem.check == 'PAN207'
    # training reads colors
    assert problem.severity == (Severity.NOTE if by_color else Severity.ERROR)


@pytest.mark.parametrize(('shape', 'options', 'expected'), [
    ((HEIGHT, WIDTH), {}, []), ((WIDTH, HEIGHT), {}, ['PAN209']), ((40, 60), {}, ['PAN208']),
    ((HEIGHT, WIDTH), rotated(6), ['PAN106']), ((WIDTH, HEIGHT), rotated(6), ['PAN107']),
    ((HEIGHT, WIDTH), rotated(3), ['PAN117']), ((WIDTH, HEIGHT), rotated(3), ['PAN209'])])
def test_sizes(tmp_path, shape, options, expected):
    ids = cv2.resize(clean_ids(), shape[::-1], interpolation=cv2.INTER_NEAREST)
    findings = inspect(tmp_path, png(id2rgb(ids)), segments_of(ids), **options)
    assert [p.check for p in findings.problems] == expected
    source = Source('train', 'panoptic', 'a.json', color_type='color_ignore_orientation')
    findings = inspect(tmp_path, png(id2rgb(ids)), segments_of(ids), source, **options)
    assert [p.check for p in findings.problems] == (
        [] if shape == (HEIGHT, WIDTH) else ['PAN208'] if shape == (40, 60) else ['PAN209'])


def test_ids_areas_and_boxes(tmp_path):
    ids = clean_ids()
    segments = segments_of(ids)
    by_id = {segment['id']: segment for segment in segments}
    by_id[CAR]['area'] += 1
    by_id[TREE]['bbox'] = [70, 20, 19, 34]
    by_id[LAND].update(area=float(by_id[LAND]['area']), bbox=[0., 50., 120., 30.])
    by_id[SKY] |= dict(area='many', bbox=[1, 2])  # the JSON's problem
    segments.append(dict(id=55, category_id=1))
    ids[0, :20] = 77
    by_id[SKY]['area'] = int((ids == SKY).sum())
    findings = inspect(tmp_path, png(id2rgb(ids)), segments)
    assert places(findings) == [('PAN210', 77), ('PAN211', 55), ('PAN212', CAR), ('PAN213', TREE)]
    texts = [p.text for p in findings.problems]
    assert '20 pixels' in texts[0] and '601 and 600 pixels' in texts[2]
    assert 'one pixel too small' in texts[3]


def test_many_unlisted_ids_are_one_problem(tmp_path):
    ids = clean_ids()
    ids[:40, :100] = np.kron(np.arange(1000, 1040).reshape(8, 5) * 77 % 10007, np.ones((5, 20)))
    findings = inspect(tmp_path, png(id2rgb(ids)), [dict(id=1, category_id=1)])
    assert places(findings) == [('PAN210', None), ('PAN211', 1)]
    assert 'another image' in findings.problems[0].text


def test_red_and_blue_exchanged(tmp_path):
    ids = clean_ids()
    problem, = inspect(tmp_path, png(id2rgb(ids)[..., ::-1]), segments_of(ids)).problems
    assert problem.check == 'PAN210' and 'R, G, B' in problem.mend


@pytest.mark.parametrize('interpolation', [cv2.INTER_LINEAR, cv2.INTER_AREA, cv2.INTER_CUBIC,
                                           cv2.INTER_NEAREST])
@pytest.mark.parametrize('scale', [0.45, 0.7, 1.6, 3.3])
def test_interpolated_maps(tmp_path, interpolation, scale):
    # round shapes: edges of rectangles may fall between pixels
    ids = np.full((200, 300), SKY, np.int32)
    for number, (x, y) in zip((LAND, CAR, TREE), ((70, 100), (150, 80), (220, 130))):
        cv2.circle(ids, (x, y), 45, number, -1)
    size = (int(300 * scale), int(200 * scale))
    colors = cv2.resize(id2rgb(ids), size, interpolation=interpolation)
    image = cv2.resize(IMAGE, size)
    segments = segments_of(ids)
    if interpolation == cv2.INTER_NEAREST:
        segments = segments_of(rgb2id(colors))
    findings = inspect(tmp_path, png(colors), segments, image=image)
    if interpolation == cv2.INTER_NEAREST or (interpolation == cv2.INTER_AREA and scale == 3.3
                                              and not findings.problems):
        assert findings.problems == []
    else:
        assert ('PAN214', None) in places(findings)
        assert 'PAN212' not in {p.check for p in findings.problems}


def test_pieces_void_crowds_and_tiny_segments(tmp_path):
    ids = clean_ids()
    ids[40:60, 10:40] = SKY
    ids[10:16, 5:11] = ids[60:66, 100:106] = CAR  # two objects of one id
    ids[2:5, 50:55] = 88  # 15 pixels
    findings = inspect(tmp_path, png(id2rgb(ids)), segments_of(ids))
    assert places(findings) == [('PAN218', 88), ('PAN215', CAR)]
    segments = segments_of(ids)
    for segment in segments:
        segment['iscrowd'] = int(segment['id'] in (CAR, SKY))
    assert [p for p in places(inspect(tmp_path, png(id2rgb(ids)), segments))] == [
        ('PAN218', 88), ('PAN217', None)]
    # a person behind a pole, a train behind trees
    ids = clean_ids()
    ids[10:50, 60:66] = CAR
    ids[10:50, 74:80] = CAR
    assert not inspect(tmp_path, png(id2rgb(ids)), segments_of(ids)).problems
    ids[:, 20:] = 0
    assert ('PAN216', None) in places(inspect(tmp_path, png(id2rgb(ids)), segments_of(ids)))


def test_void_around_things_alone_is_no_problem(tmp_path):
    ids = np.zeros((HEIGHT, WIDTH), np.int32)
    ids[10:30, 10:30] = CAR
    assert not inspect(tmp_path, png(id2rgb(ids)), segments_of(ids)).problems


@pytest.mark.parametrize(('values', 'check', 'text'), [
    (np.dstack([clean_ids() % 4] * 3).astype(np.uint8), 'PAN221', 'equal'),
    (id2rgb(clean_ids()), 'PAN221', '3 channels'),
    (np.full((HEIGHT, WIDTH), 255, np.uint8), 'PAN223', 'ignored'),
    (np.where(clean_ids() == SKY, 255, 1).astype(np.uint8), 'PAN216', 'ignored')])
def test_label_maps(tmp_path, values, check, text):
    problem, = inspect(tmp_path, png(values), source=SEMANTIC).problems
    assert problem.check == check and text in problem.text


def test_values_of_label_maps(tmp_path):
    values = np.select([clean_ids() == k for k in (SKY, LAND, CAR)], (0, 1, 2), 3).astype(np.uint8)
    findings = inspect(tmp_path, png(values), source=SEMANTIC)
    assert not findings.problems and findings.statistics.num_segments == 4
    assert findings.statistics.pixels == {k: int((values == k).sum()) for k in range(4)}
    values[:2, :5], values[5, :3] = 9, 255
    findings = inspect(tmp_path, png(values), source=SEMANTIC)
    assert places(findings) == [('PAN220', None)] and '10 pixels' in findings.problems[0].text
    assert findings.statistics.void_share == 3 / values.size
    mapped = Source('train', 'semantic', classes=('a', 'b'), label_map={9: 255, 3: 0, 2: 1, 0: 1})
    findings = inspect(tmp_path, png(values), source=mapped)
    assert not findings.problems
    assert findings.statistics.pixels == {0: int((values == 3).sum()),
                                          1: int(((values < 3)).sum())}
    shifted = Source('train', 'semantic', classes=('a', 'b', 'c'), label_map={8: 0},
                     reduce_zero_label=True)
    findings = inspect(tmp_path, png(values), source=shifted)
    assert findings.statistics.pixels == {0: int(((values == 1) | (values == 9)).sum()),
                                          1: int((values == 2).sum()), 2: int((values == 3).sum())}
    deep = np.where(values == 0, 40000, values).astype(np.uint16)
    assert 'PAN220' in {p.check for p in inspect(tmp_path, png(deep), source=mapped).problems}


def test_interpolated_label_maps(tmp_path):
    values = np.zeros((200, 300), np.uint8)
    for label, x in ((3, 70), (2, 150), (3, 220)):
        cv2.circle(values, (x, 100), 40, label, -1)
    for interpolation, expected in ((cv2.INTER_LINEAR, ['PAN226']), (cv2.INTER_NEAREST, [])):
        resized = cv2.resize(values, (WIDTH, HEIGHT), interpolation=interpolation)
        findings = inspect(tmp_path, png(resized), source=SEMANTIC)
        assert [p.check for p in findings.problems] == expected


def test_float_label_maps(tmp_path):
    data = encode(clean_ids().astype(np.float32), 'TIFF')
    assert places(inspect(tmp_path, data, source=SEMANTIC)) == [('PAN224', None)]


def test_runs_against_masks():
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 5, (12, 17)) * 40_000
    ids = np.kron(coarse, np.ones((3, 2), np.int32)).astype(np.int32)
    ids[generator.random(ids.shape) < 0.1] = 7
    runs = MapRuns(ids)
    for value, area, box in zip(runs.values, runs.areas, runs.boxes.tolist()):
        y, x = np.nonzero(ids == value)
        assert area == len(x) and box == [x.min(), y.min(), x.max() + 1, y.max() + 1]
    assert runs.values.tolist() == np.unique(ids).tolist()


def test_blended_runs():
    row = [1, 1, 5, 5, 5, 5, 3, 9, 9, 2, 9, 4, 4]
    # 3 is not between 5 and 9, 2 not between 9 and 9; 5 is between 1 and 3 but too long
    assert MapRuns(np.array([row])).blended_share() == (0, 6)
    share, count = MapRuns(np.array([[1, 1, 2, 4, 9, 9, 9, 9, 30, 30]])).blended_share()
    # a ramp over two pixels is one boundary
    assert (share, count) == (0.5, 2)


def test_far_parts_need_distance_and_size():
    mask = np.zeros((100, 200), bool)
    mask[10:20, 10:20] = mask[10:20, 60:70] = True
    assert far_parts(mask[10:20, 10:70], (100, 200)) == (2, 40., 0.5)
    assert far_parts(mask[10:20, 10:70], (100, 600)) is None  # near, for this image
    mask[10:20, 60:90] = True
    assert far_parts(mask[10:20, 10:90], (100, 200)) is None  # parts as large as the gap
    mask[10:20, 20:60:8] = True
    assert far_parts(mask[10:20, 10:90], (100, 200)) is None  # joined by fragments


@pytest.mark.parametrize(('options', 'found'), [
    ({}, ['PAN222']), (dict(label_map={0: 0, 255: 1}), []), (dict(ignore_index=0), ['PAN220'] * 2)])
def test_binary_masks(tmp_path, options, found):
    for folder in ('images', 'maps'):
        (tmp_path / folder).mkdir()
    for number in range(2):
        values = np.where(clean_ids() == (CAR, TREE)[number], 255, 0).astype(np.uint8)
        image = photo(np.random.default_rng(number), HEIGHT, WIDTH)
        (tmp_path / f'images/{number}.jpg').write_bytes(jpg(image))
        (tmp_path / f'maps/{number}.png').write_bytes(png(values))
    source = Source('train', 'semantic', '', str(tmp_path / 'images'), str(tmp_path / 'maps'),
                    classes=('a', 'b'), **options)
    problems = run_doctor([source], workers=0).problems
    assert [p.check for p in problems if p.check[3] == '2' and p.check != 'PAN216'] == found


def test_segments_of_any_type(tmp_path):
    values = (None, True, -1, 0, 1.5, float('nan'), 2 ** 70, '', [], [None] * 4, [1e400] * 4, {})
    segments = [dict(id=number, category_id=value, iscrowd=value, area=value, bbox=value)
                for number, value in zip((SKY, LAND, CAR, TREE, *range(500, 508)), values)]
    findings = inspect(tmp_path, png(id2rgb(clean_ids())), segments)
    assert ('PAN211', 507) in places(findings)

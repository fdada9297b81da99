"""``mmpanseg predict`` on videos: rate, frames, tracks and what remains of an interrupted one."""
import json

import cv2
import numpy as np
import pytest
from color_scenes import QUERIES, sees_colors, write_video
from matplotlib import pyplot

from mmpanseg.models.segmentors import MaskTransformer
from mmpanseg.results import Result
from mmpanseg.visualization import panoptic_visualizer

from ...videos import read_video

RED, CYAN, SKY, GROUND = range(4)
# left edge of the red and of the cyan square of 16 pixels in each frame; None: not there
PLACES = [(8, None), (10, None), (12, 60), (14, 57), (16, 54), (None, 51), (20, 48)]
# track ids by hand: from left to right in the first frame red (16 + 16), then sky and ground, both
# as wide as the frame, in the order of the model; the red one returns as a new one
TRACKS = [{RED: 1, SKY: 2, GROUND: 3}, {RED: 1, SKY: 2, GROUND: 3},
          {RED: 1, CYAN: 4, SKY: 2, GROUND: 3}, {RED: 1, CYAN: 4, SKY: 2, GROUND: 3},
          {RED: 1, CYAN: 4, SKY: 2, GROUND: 3}, {CYAN: 4, SKY: 2, GROUND: 3},
          {RED: 5, CYAN: 4, SKY: 2, GROUND: 3}]


def frames(size=(64, 96)):
    made = []
    for places in PLACES:
        labels = np.full(size, SKY, np.uint8)
        labels[48:] = GROUND
        for query, left in enumerate(places):
            if left is not None:
                labels[16:32, left:left + 16] = query
        made.append(labels)
    return made


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def tracks_by_query(line, labels):
    """Track id of each color in a frame."""
    found = {}
    for segment, content in zip(Result.from_dict(line).segments, line['segments']):
        assert (segment.id, segment.name) == (content['id'], content['name'])
        found[int(np.bincount(labels[segment.mask()]).argmax())] = content['track_id']
    return found


def test_overlay_and_lines(run, tmp_path):
    write_video(tmp_path / 'clip.mp4', frames(), 12.5)
    done = run('clip.mp4', '--save', 'video,json')
    assert done.status == 0 and done.err == [], done.err
    assert len(done.out) == 1
    assert done.out[0].startswith('clip.mp4: 7 frames, 5 tracks; ')
    assert done.out[0].endswith(' frames/s -> outputs/videos/clip.mp4')
    lines = lines_of(tmp_path / 'outputs/frames/clip.mp4.jsonl')
    assert [(line['frame'], line['time'], line['name'], line['image_id']) for line in lines] == [
        (k, round(k / 12.5, 6), f'clip.mp4/{k:06d}', f'clip.mp4/{k:06d}') for k in range(7)]
    assert lines[3]['source'] == f'{tmp_path}/clip.mp4#3'
    assert [tracks_by_query(line, labels) for line, labels in zip(lines, frames())] == TRACKS
    rate, pictures = read_video(tmp_path / 'outputs/videos/clip.mp4')
    assert rate == 12.5 and len(pictures) == 7
    assert {picture.shape for picture in pictures} == {(64, 96, 3)}
    # colors follow the square: inside, away from its border
    reds = [picture[22:26, left + 6:left + 10].mean((0, 1))
            for picture, (left, _) in zip(pictures[:5], PLACES)]
    cyans = [picture[22:26, left + 6:left + 10].mean((0, 1))
             for picture, (_, left) in zip(pictures[2:], PLACES[2:])]
    for colors in (reds, cyans):
        np.testing.assert_allclose(colors, [colors[0]] * len(colors), atol=12)
    assert np.abs(reds[0] - cyans[0]).max() > 20
    # each thing is near the color of its track, tinted
    for color in reds:
        assert np.argmax(color) == 0


def test_every_third_frame(run, tmp_path):
    write_video(tmp_path / 'clip.mp4', frames(), 12)
    done = run('clip.mp4', '--save', 'video,json', '--every', '3')
    assert done.status == 0
    rate, pictures = read_video(tmp_path / 'outputs/videos/clip.mp4')
    assert rate == 4 and len(pictures) == 3
    assert [(line['frame'], line['time']) for line in lines_of(
        tmp_path / 'outputs/frames/clip.mp4.jsonl')] == [(0, 0), (3, 0.25), (6, 0.5)]


@pytest.mark.parametrize('size, stored', [((64, 96), (64, 96)), ((65, 97), (66, 98))])
def test_one_frame_and_odd_sizes(run, tmp_path, size, stored):
    """The encoder of the source drops the last column and row of odd sizes; FFV1 does not."""
    video = cv2.VideoWriter(str(tmp_path / 'clip.avi'), cv2.CAP_FFMPEG,
                            cv2.VideoWriter_fourcc(*'png '), 25, size[::-1])
    picture = np.full((*size, 3), (220, 150, 90), np.uint8)
    video.write(picture)
    video.release()
    size = cv2.VideoCapture(str(tmp_path / 'clip.avi')).read()[1].shape[:2]
    assert run('clip.avi').status == 0
    rate, pictures = read_video(tmp_path / 'outputs/videos/clip.avi.mp4')
    assert rate == 25 and [picture.shape for picture in pictures] == [
        (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)]


def test_all_kinds_of_files_of_a_video_among_photos(run, photos, tmp_path):
    write_video(tmp_path / 'photos/b/clip.mp4', frames()[:2])
    done = run('photos', '--save', 'png,json,coco,polygons,video')
    assert done.status == 0 and len(done.out) == 6
    out = tmp_path / 'outputs'
    for folder, ending in (('pictures', 'png'), ('polygons', 'json'), ('coco', 'png')):
        assert sorted(path.name for path in (out / folder / 'b/clip.mp4').iterdir()) == [
            f'{k:06d}.{ending}' for k in range(2)]
    assert (out / 'videos/b/clip.mp4').is_file()
    assert len(lines_of(out / 'frames/b/clip.mp4.jsonl')) == 2
    # frames are not among the images
    assert len(lines_of(out / 'predictions.jsonl')) == 4
    panoptic = json.loads((out / 'coco/panoptic.json').read_text())
    assert [image['id'] for image in panoptic['images']] == [
        0, 1, 2, 'b/clip.mp4/000000', 'b/clip.mp4/000001', 3]


def test_default_of_a_video_and_a_photo(run, photos, tmp_path):
    write_video(tmp_path / 'photos/a/clip.mp4', frames()[:2])
    assert run('photos/a').status == 0
    assert sorted(path.relative_to(tmp_path / 'outputs').as_posix()
                  for path in (tmp_path / 'outputs').rglob('*.*') if path.name != '.lock') == [
        'pictures/1.png', 'run.jsonl', 'videos/clip.mp4']


@pytest.mark.parametrize('error, status', [(KeyboardInterrupt, 130), (RuntimeError, None)])
def test_an_interrupted_video_is_absent(run, photos, tmp_path, monkeypatch, error, status):
    write_video(tmp_path / 'clip.mp4', frames())
    assert run('clip.mp4', '--save', 'video,json').status == 0
    before = {path: path.read_bytes() for path in (tmp_path / 'outputs').rglob('*.*')}
    calls = []

    def stops(self, *args):
        calls.append(1)
        if len(calls) == 5:
            raise error
        return sees_colors(self, *args)

    monkeypatch.setattr(MaskTransformer, 'predict_queries', stops)
    if status is None:
        with pytest.raises(error):
            run('photos/a', 'clip.mp4', '--save', 'video,json')
    else:
        done = run('photos/a', 'clip.mp4', '--save', 'video,json')
        assert done.status == status and done.err == ['stopped: 1 done, complete in outputs']
    after = {path: path.read_bytes() for path in (tmp_path / 'outputs').rglob('*.*')}
    assert {path.name for path in after.keys() - before.keys()} == {'predictions.jsonl'}
    assert all(after[path] == content for path, content in before.items()
               if path.name != 'run.jsonl')
    assert len(QUERIES) == 4


@pytest.mark.filterwarnings('ignore:FigureCanvasAgg is non-interactive')
def test_show(run, photos, tmp_path, monkeypatch):
    """Windows of a backend that draws into memory."""
    monkeypatch.setattr(panoptic_visualizer, '_interactive', lambda: ['agg'])
    write_video(tmp_path / 'photos/a/clip.mp4', frames()[:3])
    pyplot.close('all')
    assert run('photos/a', '--show', '--save', 'png').status == 0
    assert len(pyplot.get_fignums()) == 2
    shown = [pyplot.figure(number).axes[0].images[0].get_array() for number in pyplot.get_fignums()]
    for picture, name in zip(shown, ('1.png', 'clip.mp4/000002.png')):
        saved = cv2.imread(str(tmp_path / 'outputs/pictures' / name))[..., ::-1]
        np.testing.assert_array_equal(picture, saved)
    pyplot.close('all')


@pytest.mark.slow
def test_flat_memory(run, tmp_path):
    """Memory of 120 frames is that of 15."""
    import tracemalloc
    peaks = []
    for count in (15, 120):
        write_video(tmp_path / f'{count}.mp4', (frames()[:5] * 24)[:count])
        tracemalloc.start()
        assert run(f'{count}.mp4', '--save', 'video,json', '--out', f'out{count}').status == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]

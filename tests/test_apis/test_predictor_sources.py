"""Every kind of source gives the result of the same pixels, and bad ones one line."""
import http.server
import io
import threading
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmpanseg.apis import (
    FailedInput,
    ImageError,
    Predictor,
    PredictorError,
    VideoError,
    VideoFrames,
)


@pytest.fixture(scope='module')
def predictor(predictors):
    return predictors['mask2former']


@pytest.fixture(scope='module')
def expected(predictor, pictures):
    return [predictor(picture).panoptic_map for picture in pictures]


@pytest.fixture(scope='module')
def server(picture_folder):
    """Address of a server on loopback that serves the folder of the pictures."""
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(
            ('127.0.0.1', 0), partial(Quiet, directory=str(picture_folder))) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f'http://127.0.0.1:{running.server_port}'
        running.shutdown()
        thread.join()


@pytest.fixture(scope='module')
def video(tmp_path_factory, pictures):
    """Video of 5 frames: the first picture, brighter in every frame."""
    path = tmp_path_factory.mktemp('video') / 'clip.avi'
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'FFV1'), 12.5, (width, height))
    for number in range(5):
        writer.write(cv2.add(pictures[0][..., ::-1].copy(), 20 * number))
    writer.release()
    return path


@pytest.mark.parametrize('kind', [
    'path', 'Path', 'bytes', 'bytearray', 'file', 'open', 'pil', 'array', 'tensor', 'float tensor'])
def test_one_image(kind, predictor, picture_folder, pictures, expected):
    path = picture_folder / '0.png'
    tensor = torch.from_numpy(pictures[0]).permute(2, 0, 1)
    source = {
        'path': lambda: str(path), 'Path': lambda: path, 'bytes': path.read_bytes,
        'bytearray': lambda: bytearray(path.read_bytes()),
        'file': lambda: io.BytesIO(path.read_bytes()), 'open': lambda: open(path, 'rb'),
        'pil': lambda: Image.fromarray(pictures[0]), 'array': lambda: pictures[0],
        'tensor': lambda: tensor, 'float tensor': lambda: tensor.double() / 255}[kind]()
    result = predictor(source)
    np.testing.assert_array_equal(result.panoptic_map, expected[0])
    np.testing.assert_array_equal(result.image, pictures[0])
    assert result.path == (str(path) if kind in ('path', 'Path') else None)
    # a list of one is a list
    if kind not in ('file', 'open'):
        listed = predictor([source])
        assert isinstance(listed, list) and np.array_equal(listed[0].panoptic_map, expected[0])


def test_channel_order(system, pictures, expected):
    bgr = Predictor(*system('mask2former'), channel_order='bgr')
    swapped = np.ascontiguousarray(pictures[0][..., ::-1])
    np.testing.assert_array_equal(bgr(swapped).panoptic_map, expected[0])
    tensor = torch.from_numpy(swapped).permute(2, 0, 1)
    np.testing.assert_array_equal(bgr(tensor).panoptic_map, expected[0])
    np.testing.assert_array_equal(bgr(swapped).image, pictures[0])
    assert not np.array_equal(bgr(pictures[0]).panoptic_map, expected[0])
    # the order of a PIL image is known
    np.testing.assert_array_equal(bgr(Image.fromarray(pictures[0])).panoptic_map, expected[0])


def test_gray_and_alpha(predictor, pictures):
    gray = pictures[0][..., 0]
    alpha = np.dstack([pictures[0], gray])
    full = predictor(np.repeat(gray[..., None], 3, axis=2)).panoptic_map
    for source in (gray, gray[..., None], torch.from_numpy(gray)[None]):
        np.testing.assert_array_equal(predictor(source).panoptic_map, full)
    np.testing.assert_array_equal(predictor(alpha).panoptic_map,
                                  predictor(pictures[0]).panoptic_map)


def test_several_images(predictor, picture_folder, pictures, expected):
    folder = predictor(picture_folder, batch_size=2)
    assert [result.path for result in folder] == [
        *(str(picture_folder / f'{k}.png') for k in range(6)),
        str(picture_folder / 'sub/last.PNG')]
    for result, segments in zip(folder, expected):
        np.testing.assert_array_equal(result.panoptic_map, segments)
    pattern = predictor(str(picture_folder / '[01].png'))
    assert [result.path for result in pattern] == [result.path for result in folder[:2]]
    same_size = torch.stack([torch.from_numpy(pictures[k]) for k in (0, 0)]).permute(0, 3, 1, 2)
    assert len(predictor(same_size)) == 2
    mixed = [picture_folder / '0.png', pictures[1], [Image.fromarray(pictures[2]), pictures[3]]]
    for results in (predictor(mixed), list(predictor.stream(x for x in mixed))):
        assert len(results) == 4
        for result, segments in zip(results, expected):
            np.testing.assert_array_equal(result.panoptic_map, segments)


def test_addresses(predictor, server, expected):
    result = predictor(f'{server}/0.png')
    np.testing.assert_array_equal(result.panoptic_map, expected[0])
    assert result.path == f'{server}/0.png'
    with pytest.raises(ImageError, match=r'/absent\.png cannot be read: .*404'):
        predictor(f'{server}/absent.png')
    with pytest.raises(ImageError, match='^scheme://a.png cannot be read: KeyError'):
        predictor('scheme://a.png')
    # nothing listens there
    failed = list(predictor.stream(['http://127.0.0.1:9/a.png', f'{server}/0.png'],
                                   skip_unreadable=True))
    assert isinstance(failed[0], FailedInput) and failed[0].source == 'http://127.0.0.1:9/a.png'
    assert '\n' not in str(failed[0].error) and failed[0].source in str(failed[0].error)
    np.testing.assert_array_equal(failed[1].panoptic_map, expected[0])


def test_video(predictor, video, pictures):
    frames = VideoFrames(video)
    assert (frames.rate, frames.size, frames.count, len(frames)) == (12.5, (48, 72), 5, 5)
    decoded = dict(frames)
    for number in range(5):
        np.testing.assert_array_equal(
            decoded[number], cv2.add(pictures[0][..., ::-1].copy(), 20 * number))
    results = predictor(video)
    assert [result.file_name for result in results] == [f'{video}#{k}' for k in range(5)]
    for number, result in enumerate(results):
        picture = np.ascontiguousarray(decoded[number][..., ::-1])
        np.testing.assert_array_equal(result.panoptic_map, predictor(picture).panoptic_map)
        np.testing.assert_array_equal(result.image, picture)
    every = VideoFrames(video, every=2)
    assert len(every) == 3
    assert [result.file_name for result in predictor(every)] == [
        f'{video}#{k}' for k in (0, 2, 4)]


@pytest.mark.parametrize(('content', 'text'), [
    (b'', 'cannot be read as a video: the file is empty'), (b'no video' * 100, 'cannot be read')])
def test_unreadable_videos(content, text, predictor, tmp_path):
    path = tmp_path / 'bad.mp4'
    path.write_bytes(content)
    with pytest.raises(VideoError, match=f'{path} {text}'):
        predictor(path)
    failed, = predictor.stream([path], skip_unreadable=True)
    assert failed.source == str(path) and isinstance(failed.error, VideoError)


def test_video_without_frames(tmp_path, predictor, video):
    """A header without any frame."""
    path = tmp_path / 'short.avi'
    path.write_bytes(video.read_bytes()[:video.stat().st_size // 40])
    with pytest.raises(VideoError, match='short.avi'):
        predictor(path)
    with pytest.raises(FileNotFoundError, match='no video found at absent.mp4'):
        VideoFrames('absent.mp4')
    with pytest.raises(ValueError, match='every=0'):
        VideoFrames(video, every=0)


@pytest.mark.parametrize(('source', 'text'), [
    ([], 'no images were given: the list is empty'),
    ((x for x in ()), 'no images were given'),
    ({'a': 1}, 'dict is not accepted; give image files, folders'),
    (3, 'int is not accepted; give image files'),
    (io.StringIO('text'), r'an open file must be in binary mode: open\(path, "rb"\)'),
    (np.zeros((8, 8, 3)), r'array of float64 is not taken; give uint8 arrays, RGB, \[H, W, 3\]'),
    (np.zeros((3, 8, 8), np.uint8), r'shape \[3, 8, 8\] is not taken.*image.transpose\(1, 2, 0\)'),
    (np.zeros((0, 8, 3), np.uint8), r'shape \[0, 8, 3\] is not taken'),
    (torch.zeros(8, 8, 3, dtype=torch.uint8), r'shape \[8, 8, 3\] is not.*permute\(2, 0, 1\)'),
    (torch.zeros(8, 8, dtype=torch.uint8), r'shape \[8, 8\] is not taken'),
    (torch.full((3, 8, 8), 255.0), 'float tensor with values from 255 to 255 is not taken; give '
                                   r'floats in 0\.\.1'),
    (torch.full((3, 8, 8), float('nan')), 'float tensor with values from nan to nan'),
    (-torch.ones(3, 8, 8), 'values from -1 to -1'),
    (torch.zeros(3, 8, 8, dtype=torch.int32), r'tensor of torch\.int32 is not taken'),
    (torch.zeros(0, 3, 8, 8), 'no images were given')])
def test_sources_that_are_no_images(source, text, predictor):
    with pytest.raises(PredictorError, match=text) as caught:
        predictor(source)
    assert '\n' not in str(caught.value)


def test_paths_without_images(predictor, tmp_path):
    (tmp_path / 'notes.txt').write_text('')
    with pytest.raises(FileNotFoundError, match=f'no image found at {tmp_path}: none of the 1 '):
        predictor(tmp_path)
    with pytest.raises(FileNotFoundError, match='no image found at absent.png'):
        predictor('absent.png')
    (tmp_path / 'bad.jpg').write_text('no image')
    with pytest.raises(ImageError, match='bad.jpg cannot be read as an image'):
        predictor(tmp_path / 'bad.jpg')
    with pytest.raises(ImageError, match='the given image of 3 bytes cannot be read'):
        predictor(b'abc')


@pytest.mark.parametrize(('options', 'text'), [
    (dict(task='panoptc'), "task='panoptc' is unknown, did you mean 'panoptic'"),
    (dict(fusion='maskwise'), "fusion='maskwise' is unknown, did you mean 'mask_wise'"),
    (dict(fusion=3), 'fusion=3 must be one of pixelwise, mask_wise'),
    (dict(fusion=dict(iou=0.5)), "fusion=.*'iou'"),
    (dict(fusion=dict(type='MaskFormerFusionHead')), 'is not a mmpanseg FusionHead'),
    (dict(fusion=dict(type='mmpanseg.NoHead')), 'NoHead'),
    (dict(score_thr=1.5), r'score_thr=1.5 must be a number in 0..1'),
    (dict(score_thr='high'), "score_thr='high' must be"),
    (dict(score_thr=(0.1, 0.2)), 'object_mask_thr of PixelwiseFusionHead must be one number'),
    (dict(classes=['dgo']), "the model has no class 'dgo', did you mean 'dog'"),
    (dict(classes=['x']), "no class 'x'; it has cat, dog, grass, sky"),
    (dict(batch_size=0), 'batch_size=0 must be')])
def test_options_that_do_not_exist(options, text, predictor, pictures):
    with pytest.raises(PredictorError, match=text) as caught:
        predictor(pictures[0], **options)
    assert '\n' not in str(caught.value)


def test_instances_need_things(system, pictures):
    model, cfg = system('mask2former')
    model.num_things_classes = 0
    with pytest.raises(PredictorError, match='needs classes that are things'):
        Predictor(model, cfg, task='instance')


@pytest.mark.parametrize('error', [
    torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB'),
    RuntimeError('[enforce fail] DefaultCPUAllocator: not enough memory'), MemoryError()])
def test_out_of_memory(error, system, pictures, monkeypatch):
    model, cfg = system('mask2former')

    def fail(*args):
        raise error

    predictor = Predictor(model, cfg, batch_size=2)
    kept = predictor.logits(pictures[0])
    monkeypatch.setattr(model.backbone, 'forward', fail)
    with pytest.raises(PredictorError, match='out of memory on cpu') as caught:
        predictor([pictures[0], pictures[3]])
    text = str(caught.value)
    assert '\n' not in text and pictures[0].shape[:2] == (48, 72) and '72x48 pixels' in text
    for remedy in ('batch_size (--batch) below 2', 'tile=(', '--tile', 'device=', '--device'):
        assert remedy in text
    with pytest.raises(PredictorError, match='out of memory') as caught:
        predictor(pictures[0])
    assert 'batch_size' not in str(caught.value)
    monkeypatch.setattr(model.panoptic_fusion_head, 'panoptic', fail)
    with pytest.raises(PredictorError, match='out of memory'):
        predictor.fuse(kept)


def test_other_errors_stay_themselves(system, pictures, monkeypatch):
    model, cfg = system('mask2former')

    def fail(*args):
        raise RuntimeError('a bug')

    monkeypatch.setattr(model.backbone, 'forward', fail)
    with pytest.raises(RuntimeError, match='^a bug$'):
        Predictor(model, cfg)(pictures[0])

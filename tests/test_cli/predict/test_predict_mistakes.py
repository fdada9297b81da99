"""Bad inputs of ``mmpanseg predict``: one line each, and the other inputs are done."""
import dataclasses
import http.server
import json
import resource
import socket
import threading

import numpy as np
import pytest
import torch
from color_scenes import ball_scene, sees_colors, write_image, write_video

from mmpanseg.cli.output_folder import only_run
from mmpanseg.models.segmentors import MaskTransformer
from mmpanseg.results import Result
from mmpanseg.visualization import panoptic_visualizer

ERROR = 'mmpanseg predict: error: '


@pytest.fixture
def server(photos, tmp_path):
    """Address of a server of the photos on loopback."""
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / 'photos'))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{found.server_port}'
        found.shutdown()


def names_of(tmp_path):
    path = tmp_path / 'outputs/predictions.jsonl'
    return [json.loads(line)['name'] for line in path.read_text().splitlines()]


def test_unreadable_image_and_videos_among_good_ones(run, photos, tmp_path):
    (tmp_path / 'photos/a/bad.png').write_bytes(b'no image')
    (tmp_path / 'photos/b/empty.mp4').touch()
    (tmp_path / 'photos/b/noise.avi').write_bytes(bytes(range(256)) * 40)
    done = run('photos', 'absent.jpg', '--save', 'json')
    assert done.status == 1
    assert names_of(tmp_path) == ['a/1', 'b/1', 'b/2', 'b/c/3']
    assert len(done.err) == 5 and len(done.out) == 5
    for line, text in zip(done.err, (
            'absent.jpg does not exist', 'photos/a/bad.png cannot be read',
            'photos/b/empty.mp4 cannot be read as a video',
            'photos/b/noise.avi cannot be read as a video')):
        assert line.startswith(text)
    assert done.err[4] == (f'{ERROR}4 of 8 inputs failed: absent.jpg, photos/a/bad.png, '
                           'photos/b/empty.mp4, photos/b/noise.avi')
    assert done.out[-1].startswith('4 done, 4 failed in ')


@pytest.mark.parametrize('name, text', [
    ('bad.png', 'bad.png cannot be read'), ('empty.mp4', 'empty.mp4 cannot be read as a video'),
    ('absent/', 'absent/ does not exist')])
def test_the_only_input_fails_in_one_line(run, tmp_path, name, text):
    (tmp_path / 'bad.png').write_bytes(b'no image')
    (tmp_path / 'empty.mp4').touch()
    done = run(name)
    assert done.status == 1 and done.out == []
    assert done.err[-1].startswith(ERROR + text) and len(done.err) == 1


def test_urls(run, server, tmp_path):
    with socket.socket() as closed:
        closed.bind(('127.0.0.1', 0))
        gone = f'http://127.0.0.1:{closed.getsockname()[1]}/x.png'
    done = run(f'{server}/a/1.png', f'{server}/a/absent.png', gone, '--save', 'json')
    assert done.status == 1 and names_of(tmp_path) == ['1']
    line = json.loads((tmp_path / 'outputs/predictions.jsonl').read_text())
    assert line['source'] == f'{server}/a/1.png' and line['file_name'] == '1.png'
    assert done.err[0].startswith(f'{server}/a/absent.png cannot be read')
    assert done.err[1].startswith(f'{gone} cannot be read')
    assert done.err[2] == f'{ERROR}2 of 3 inputs failed: {server}/a/absent.png, {gone}'


def test_a_video_by_url(run, server, photos, tmp_path):
    labels = next(iter(photos.values()))
    write_video(tmp_path / 'photos/clip.mp4', [labels, labels])
    done = run(f'{server}/clip.mp4')
    assert done.status == 0 and (tmp_path / 'outputs/videos/clip.mp4').is_file(), done.err
    done = run(f'{server}/absent.mp4')
    assert done.status == 1 and len(done.err) == 1
    assert done.err[0].startswith(f'{ERROR}{server}/absent.mp4 cannot be read')


def test_folder_without_images(run, tmp_path):
    (tmp_path / 'texts').mkdir()
    (tmp_path / 'texts/a.txt').touch()
    done = run('texts')
    assert done.status == 1 and len(done.err) == 1
    assert done.err[0].startswith(f'{ERROR}texts has no image and no video: none of its 1 files')


@pytest.mark.parametrize('out, text', [
    ('file', '--out file: file is a file; name a folder'),
    ('file/sub', '--out file/sub: '),
    ('/proc/none', '')])
def test_output_folder(run, photos, tmp_path, out, text):
    (tmp_path / 'file').touch()
    done = run('photos', '--out', out)
    assert done.status == 1 and len(done.err) == 1
    assert done.err[0].startswith(ERROR + text) and out in done.err[0]


def test_a_folder_that_only_others_may_write(run, photos, tmp_path, monkeypatch):
    monkeypatch.setattr('os.access', lambda path, mode: False)
    done = run('photos', '--out', 'x/y')
    assert done.status == 1 and done.err == [
        f'{ERROR}--out x/y: {tmp_path} cannot be written by this user; name another folder']


@pytest.mark.parametrize('options, text', [
    (['--save', 'video'], '--save video: none of the sources is a video'),
    (['--save', 'png,gif'], "Invalid value for '--save': gif is none of png, json, coco, polygons, "
                            'video'),
    (['--save', ','], "Invalid value for '--save': give names with commas between them"),
    (['--task', 'depth'], "Invalid value for '--task': 'depth' is not one of 'panoptic', "
                          "'instance', 'semantic', 'all'"),
    (['--every', '0'], "Invalid value for '--every': 0 is not in the range x>=1"),
    (['--score-thr', '2'], "Invalid value for '--score-thr': 2.0 is not in the range 0<=x<=1"),
    (['-'], 'standard input has no source: write one in each line')])
def test_mistakes_in_the_command(run, photos, options, text):
    done = run('photos/a/1.png', *options, stdin='\n\n')
    assert done.status == 2 and done.out == []
    assert done.err == [f'{ERROR}{text} (see mmpanseg predict --help)']


@pytest.mark.parametrize('content, text', [
    (None, '--ann ann.json does not exist'),
    ('no json', '--ann: ann.json is not valid JSON'),
    ('[1]', '--ann ann.json is no annotation file: it has no list "images"'),
    ('{"images": [{"id": 1, "file_name": "x.png"}]}',
     '--ann ann.json is no annotation file: it has no list "categories"'),
    ('{"images": [{"id": 1, "file_name": "x.png"}], "categories": [{"id": 1, "name": "ball"}]}',
     '--ann ann.json lists none of the 4 sources, such as photos/a/1.png; its file names are like '
     'x.png'),
    ('{"images": [{"id": 1, "file_name": "a/1.png", "height": 64, "width": 64}], "categories": '
     '[{"id": 1, "name": "car"}]}',
     '--ann ann.json has none of the model\'s classes: it has car, ..., the model ball, sky')])
def test_annotation_files(run, photos, tmp_path, content, text):
    if content is not None:
        (tmp_path / 'ann.json').write_text(content)
    done = run('photos', '--ann', 'ann.json')
    assert done.status == 1 and done.out == [] and len(done.err) == 1
    assert done.err[0].startswith(ERROR + text)


def test_images_that_the_annotation_file_lacks(run, photos, annotations, tmp_path):
    write_image(tmp_path / 'photos/new.png', next(iter(photos.values())))
    write_video(tmp_path / 'photos/clip.mp4', [next(iter(photos.values()))])
    done = run('photos', '--ann', 'truth.json', '--save', 'json')
    assert done.status == 1 and names_of(tmp_path) == ['a/1', 'b/1', 'b/2', 'b/c/3']
    assert done.err == [
        'photos/clip.mp4 is a video, and --ann lists images',
        'photos/new.png is not listed in truth.json',
        f'{ERROR}2 of 6 inputs failed: photos/clip.mp4, photos/new.png']


def test_an_image_of_another_size_than_listed(run, photos, annotations, tmp_path):
    write_image(tmp_path / 'elsewhere/b/2.jpg', ball_scene(np.random.default_rng(1), (60, 50)))
    done = run('elsewhere/b/2.jpg', '--ann', 'truth.json', '--save', 'json')
    assert done.status == 1 and len(done.err) == 1
    assert done.err[0].startswith(ERROR) and 'its size differs' in done.err[0]


def test_a_copy_of_an_image_has_not_its_id(run, photos, annotations, tmp_path):
    write_image(tmp_path / 'copy/b/2.jpg', photos['b/2.jpg'])
    done = run('photos/b/2.jpg', 'copy/b/2.jpg', '--ann', 'truth.json', '--save', 'json,coco')
    assert done.status == 1 and len(names_of(tmp_path)) == 1
    assert done.err == [
        'copy/b/2.jpg is no image of its own in truth.json: its size differs from the listed one, '
        'or several have its name', f'{ERROR}1 of 2 inputs failed: copy/b/2.jpg']


@pytest.mark.parametrize('save, size', [('png', 4000), ('json', 2200), ('coco', 300),
                                        ('polygons', 700), ('video', 2000)])
def test_full_disk(run, photos, tmp_path, monkeypatch, save, size):
    """The system refuses to write on: what is complete stays, nothing else."""
    write_video(tmp_path / 'photos/z.mp4', list(photos.values()) * 3)
    assert run('photos/b', 'photos/z.mp4', '--save', save, '--every', '9').status == 0
    kept = {path: path.read_bytes() for path in (tmp_path / 'outputs').rglob('*.*')
            if path.is_file()}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fills_the_disk(*args):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        return sees_colors(*args)

    monkeypatch.setattr(MaskTransformer, 'predict_queries', fills_the_disk)
    try:
        done = run('photos', '--save', save, '--every', '9')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done.status == 1 and len(done.err) == 1
    assert done.err[0].startswith(f'{ERROR}cannot write ')
    assert 'file too large' in done.err[0] or save == 'video'
    assert all(path.read_bytes() == content for path, content in kept.items()
               if path.name != 'run.jsonl')
    assert not list((tmp_path / 'outputs').rglob('*.partial*'))


def test_out_of_memory(run, photos, tmp_path, monkeypatch):
    calls = []

    def fails(self, *args):
        calls.append(1)
        if len(calls) == 3:
            raise torch.OutOfMemoryError('CUDA out of memory')
        return sees_colors(self, *args)

    monkeypatch.setattr(MaskTransformer, 'predict_queries', fails)
    done = run('photos', '--save', 'json')
    assert done.status == 1 and len(done.err) == 1 and done.err[0].startswith(ERROR)
    assert '--tile' in done.err[0] and '--device' in done.err[0]
    assert names_of(tmp_path) == ['a/1', 'b/1']


def test_interrupt_keeps_what_is_done(run, photos, tmp_path, monkeypatch):
    calls = []

    def stops(self, *args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return sees_colors(self, *args)

    monkeypatch.setattr(MaskTransformer, 'predict_queries', stops)
    done = run('photos', '--save', 'json,coco,png')
    assert done.status == 130 and done.err == ['stopped: 2 done, complete in outputs']
    assert names_of(tmp_path) == ['a/1', 'b/1']
    panoptic = json.loads((tmp_path / 'outputs/coco/panoptic.json').read_text())
    assert [a['file_name'] for a in panoptic['annotations']] == ['a/1.png', 'b/1.png']
    assert len(list((tmp_path / 'outputs/pictures').rglob('*.png'))) == 2


def test_show_without_a_display(run, photos, monkeypatch):
    monkeypatch.setattr(panoptic_visualizer, '_interactive', list)
    done = run('photos', '--show')
    assert done.status == 1 and done.out == [] and len(done.err) == 1
    assert done.err[0].startswith(f'{ERROR}--show: matplotlib has no window')


def test_folder_of_another_program(run, photos, tmp_path):
    (tmp_path / 'outputs/coco').mkdir(parents=True)
    done = run('photos', '--save', 'coco')
    assert done.status == 1 and done.err == [
        f'{ERROR}--out outputs has coco, but no run.jsonl that tells which model made it: name '
        'another folder']


def test_damaged_record(run, photos, tmp_path):
    (tmp_path / 'outputs').mkdir()
    (tmp_path / 'outputs/run.jsonl').write_text('{"other": 1}\n')
    done = run('photos')
    assert done.status == 1 and done.err == [
        f'{ERROR}outputs/run.jsonl is damaged, so that no results can be added to --out outputs: '
        'name another folder, or remove it']


def test_two_runs_at_the_same_time(run, photos, tmp_path):
    with only_run(tmp_path / 'outputs'):
        done = run('photos')
    assert done.status == 1 and done.out == [] and done.err == [
        f'{ERROR}another run writes to --out outputs: wait for its end, or name another folder']


@pytest.mark.parametrize('save', ['json', 'coco', 'polygons'])
def test_scores_that_are_not_finite(run, photos, tmp_path, monkeypatch, save):
    """Models leave such segments out; a custom head may not."""
    segments = Result.segments.fget
    monkeypatch.setattr(Result, 'segments', property(lambda self: [
        dataclasses.replace(segment, score=float('inf')) for segment in segments(self)]))
    done = run('photos/a', '--save', save)
    assert done.status == 1 and len(done.err) == 1
    assert done.err[0].startswith(f'{ERROR}{tmp_path}/photos/a/1.png: a predicted score or box is')

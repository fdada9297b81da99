"""The import as a whole: layout, kills, folders, links, orientations, errors."""
import json
import os
import shutil
import signal

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from PIL import Image

from mmpanseg.datasets import InstanceDataset, PanopticDataset
from mmpanseg.importers import one_image, run
from mmpanseg.importers.class_selection import ClassOptions
from mmpanseg.importers.format_list import list_formats
from mmpanseg.importers.reader import ReadOptions
from mmpanseg.importers.run import OutputOptions, run_import
from mmpanseg.importers.source_image import SourceError
from mmpanseg.importers.split import SplitOptions
from mmpanseg.structures.exif_orientation import ORIENTATIONS, apply_orientation
from mmpanseg.utils.atomic_files import FileWriteError

from .files import HEIGHT, WIDTH, as_map, coco, panoptic, photo, save, square, tree, write_json

ALL = SplitOptions(0)
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='mmpanseg.LoadPanopticMap'),
            dict(type='mmpanseg.PackPanopticInputs')]


def test_the_result_is_what_the_data_sets_read(tmp_path):
    coco(tmp_path / 'src', count=10)
    result = run_import('coco', tmp_path / 'src', tmp_path / 'dst', classes=ClassOptions(
        background='floor'), split=SplitOptions(0.2, 3))
    assert result.images == dict(train=8, val=2)
    assert sum(result.segments['train'].values()) == 16
    assert sorted(path.name for path in (tmp_path / 'dst').iterdir()) == [
        'classes.json', 'images', 'instances_train.json', 'instances_val.json', 'panoptic_train',
        'panoptic_train.json', 'panoptic_val', 'panoptic_val.json']
    ids = [image['id'] for split in ('train', 'val') for image in json.loads(
        (tmp_path / f'dst/panoptic_{split}.json').read_text())['images']]
    assert ids == list(range(1, 11))
    with DefaultScope.overwrite_default_scope('mmdet'):
        data = PanopticDataset(ann_file=str(tmp_path / 'dst/panoptic_val.json'), data_prefix=dict(
            img=str(tmp_path / 'dst/images/val'), seg=str(tmp_path / 'dst/panoptic_val')),
            pipeline=PIPELINE)
        segments = [data[k]['data_samples'].gt_segments for k in range(2)]
        assert data.metainfo['thing_classes'] == ('cat', 'dog')
        assert data.metainfo['stuff_classes'] == ('floor', )
        assert all(len(item.labels) == 2 for item in segments)
        instances = InstanceDataset(
            ann_file=str(tmp_path / 'dst/instances_train.json'),
            data_prefix=dict(img=str(tmp_path / 'dst/images/train')), pipeline=[])
        assert len(instances) == 8


def test_a_killed_import_continues_to_the_same_bytes(tmp_path, monkeypatch):
    src = tmp_path / 'src'
    coco(src, count=8)
    run_import('coco', src, tmp_path / 'whole')
    imported = []

    def stop_at(count):
        def import_some(task, context):
            if len(imported) == count:
                raise KeyboardInterrupt
            imported.append(task.name)
            return one_image.import_image(task, context)
        return import_some

    for count in (3, 5):
        monkeypatch.setattr(run, 'import_image', stop_at(count))
        with pytest.raises(KeyboardInterrupt):
            run_import('coco', src, tmp_path / 'dst')
        assert not (tmp_path / 'dst/classes.json').exists()
    # a line that was not written completely, and an image that is gone again
    with open(tmp_path / 'dst/.import/images.jsonl', 'a') as file:
        file.write('{"key": "')
    next((tmp_path / 'dst/images/train').iterdir()).unlink()
    monkeypatch.setattr(run, 'import_image', stop_at(-1))
    run_import('coco', src, tmp_path / 'dst')
    assert len(imported) == 9 and len(set(imported)) == 8
    assert tree(tmp_path / 'dst') == tree(tmp_path / 'whole')


def test_the_number_of_processes_does_not_matter(tmp_path):
    coco(tmp_path / 'src', count=20)
    seen = []
    run_import('coco', tmp_path / 'src', tmp_path / 'one', workers=1,
               progress=lambda done, total: seen.append((done, total)))
    run_import('coco', tmp_path / 'src', tmp_path / 'two', workers=2)
    assert tree(tmp_path / 'one') == tree(tmp_path / 'two')
    assert seen == [(done, 20) for done in range(1, 21)]


def test_sigkill_of_the_whole_process(tmp_path):
    coco(tmp_path / 'src', count=20)
    run_import('coco', tmp_path / 'src', tmp_path / 'whole', workers=1)
    child = os.fork()
    if not child:
        try:
            run_import('coco', tmp_path / 'src', tmp_path / 'dst', workers=1,
                       progress=lambda done, total: done == 7 and os.kill(os.getpid(),
                                                                          signal.SIGKILL))
        finally:
            os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert len((tmp_path / 'dst/.import/images.jsonl').read_text().splitlines()) == 7
    run_import('coco', tmp_path / 'src', tmp_path / 'dst', workers=1)
    assert tree(tmp_path / 'dst') == tree(tmp_path / 'whole')


def test_a_source_that_was_repaired_between_continues(tmp_path):
    src = tmp_path / 'src'
    file = coco(src, count=6)
    whole = file.read_text()
    content = json.loads(whole)
    content['annotations'][4]['segmentation'] = []
    write_json(file, content)
    with pytest.raises(SourceError, match='annotation 5 of image train_5.jpg'):
        run_import('coco', src, tmp_path / 'dst', split=ALL)
    content['annotations'].pop(4)
    content['images'].pop(1)  # also one that is imported already
    content['annotations'].pop(1)
    write_json(file, content)
    run_import('coco', src, tmp_path / 'dst', split=ALL)
    run_import('coco', src, tmp_path / 'fresh', split=ALL)
    assert tree(tmp_path / 'dst') == tree(tmp_path / 'fresh')
    assert len(panoptic(tmp_path / 'dst')) == 5


def test_images_with_errors_can_be_left_out(tmp_path):
    src = tmp_path / 'src'
    file = coco(src, count=4)
    content = json.loads(file.read_text())
    content['annotations'][0]['segmentation'] = []
    write_json(file, content)
    (src / 'train2017/train_3.jpg').unlink()
    result = run_import('coco', src, tmp_path / 'dst', split=ALL,
                        output=OutputOptions(skip_errors=True))
    assert list(panoptic(tmp_path / 'dst')) == ['train_2.jpg', 'train_4.jpg']
    lines = (tmp_path / 'dst/skipped.txt').read_text().splitlines()
    assert len(lines) == 2 and 'annotation 1 of' in lines[0] and 'train_3.jpg does not' in lines[1]
    assert result.notes == [f'2 images with errors are left out, see {tmp_path}/dst/skipped.txt']
    for path in (src / 'train2017').iterdir():
        path.unlink()
    with pytest.raises(SourceError, match='every image has an error, the first one: '):
        run_import('coco', src, tmp_path / 'none', output=OutputOptions(skip_errors=True))


@pytest.mark.parametrize('name', ['../../out.jpg', '/abs/out.jpg', r'C:\x\out.jpg',
                                  r'..\..\out.jpg', 'a' * 250 + '.jpg', 'CON.jpg', 'a/../../b.jpg'])
def test_nothing_is_written_outside(tmp_path, name):
    src = tmp_path / 'deep/src'
    real = photo(src / 'train2017/out.jpg')
    write_json(src / 'annotations/instances_train.json', dict(
        images=[dict(id=1, file_name=name, height=HEIGHT, width=WIDTH)],
        categories=[dict(id=1, name='cat')],
        annotations=[dict(id=1, image_id=1, category_id=1, segmentation=[square(1, 1, 9, 9)])]))
    if 'out' not in name:
        try:
            real.rename(src / 'train2017' / name.split('/')[-1])
        except OSError:  # too long for this file system
            pytest.skip('the file system has no such names')
    before = tree(tmp_path)
    run_import('coco', src, tmp_path / 'deep/dst', split=ALL)
    after = tree(tmp_path)
    assert {key for key in after if not key.startswith('deep/dst/')} == set(before)
    assert all(after[key] == content for key, content in before.items())
    assert len(panoptic(tmp_path / 'deep/dst')) == 1


def test_names_that_differ_in_case_or_ending_stay_apart(tmp_path):
    root = tmp_path / 'src'
    names = ['a.jpg', 'A.jpg', 'a.png', 'b/a.jpg', 'B/a.jpg']
    for seed, name in enumerate(names):
        photo(root / 'images' / name, seed)
    write_json(root / 'annotations/instances.json', dict(
        images=[dict(id=k, file_name=name, height=HEIGHT, width=WIDTH)
                for k, name in enumerate(names)], categories=[dict(id=1, name='cat')],
        annotations=[dict(id=k, image_id=k, category_id=1, segmentation=[square(k, 1, k + 5, 9)])
                     for k in range(5)]))
    run_import('coco', root, tmp_path / 'dst', split=ALL,
               read=ReadOptions(images=root / 'images'))
    found = panoptic(tmp_path / 'dst')
    assert len({name.lower().rsplit('.', 1)[0] for name in found}) == 5
    for file, segments in found.items():
        pixels = (tmp_path / 'dst/images/train' / file).read_bytes()
        seed = next(k for k, name in enumerate(names)
                    if (root / 'images' / name).read_bytes() == pixels)
        assert segments[0][2].argmax(1)[1] == seed


def test_folders_that_are_refused(tmp_path):
    src = coco(tmp_path / 'src').parent.parent
    other = tmp_path / 'other'
    other.mkdir()
    (other / 'x').write_text('')
    (tmp_path / 'file').write_text('')
    (tmp_path / 'link').symlink_to(src)
    for source, dst, text in (
            (src, src, f'SRC and DST are both {src}; name another folder for the result'),
            (src, tmp_path / 'link', f'SRC and DST are both {src}; name another folder for the '
             'result'),
            (src, src / 'dst', f'DST {src}/dst is inside SRC {src}; name a folder beside it'),
            (src, tmp_path, f'SRC {src} is inside DST {tmp_path}; name a folder beside it'),
            (src, other, f'{other} is not empty; name a new folder, or remove its files'),
            (src, tmp_path / 'file', f'{tmp_path}/file is no folder; name another one'),
            (tmp_path / 'no', other, f'{tmp_path}/no does not exist; name the folder or the file '
             'of the source')):
        before = tree(tmp_path)
        with pytest.raises(SourceError) as error:
            run_import('coco', source, dst)
        assert str(error.value) == text and tree(tmp_path) == before


def test_an_unfinished_import_is_not_mixed_with_another_one(tmp_path, monkeypatch):
    src = coco(tmp_path / 'src', count=3).parent.parent
    dst = tmp_path / 'dst'

    def interrupt(task, context):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, 'import_image', interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_import('coco', src, dst)
    monkeypatch.undo()
    with pytest.raises(SourceError) as error:
        run_import('coco', src, dst, classes=ClassOptions(background='floor'))
    assert str(error.value) == (
        f'{dst} has an unfinished import with other options; repeat that one to finish it, remove '
        'the folder, or name another one')
    # a link that somebody put there leads nowhere else
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    (dst / 'images').symlink_to(elsewhere)
    with pytest.raises(SourceError, match='is a link that leads out of'):
        run_import('coco', src, dst, split=ALL)
    assert not list(elsewhere.iterdir())


def test_a_failure_before_the_first_image_leaves_nothing(tmp_path):
    src = coco(tmp_path / 'src').parent.parent
    with pytest.raises(SourceError, match='--things zebra'):
        run_import('coco', src, tmp_path / 'new/dst', classes=ClassOptions(things=('zebra', )))
    assert not (tmp_path / 'new/dst').exists()


def test_a_full_disk_is_one_line_and_the_import_continues(tmp_path, monkeypatch):
    src = coco(tmp_path / 'src', count=3).parent.parent
    copy, full = shutil.copyfile, [False]

    def copyfile(source, target):
        if full[0]:
            raise OSError(28, 'No space left on device')
        full[0] = True
        return copy(source, target)

    monkeypatch.setattr(one_image.shutil, 'copyfile', copyfile)
    with pytest.raises(FileWriteError, match='cannot write .*: no space left on device'):
        run_import('coco', src, tmp_path / 'dst', split=ALL)
    monkeypatch.undo()
    run_import('coco', src, tmp_path / 'dst', split=ALL)
    run_import('coco', src, tmp_path / 'whole', split=ALL)
    assert tree(tmp_path / 'dst') == tree(tmp_path / 'whole')


def test_images_can_be_linked(tmp_path):
    src = coco(tmp_path / 'src').parent.parent
    original = src / 'train2017/train_1.jpg'
    for placement in ('symlink', 'hardlink'):
        run_import('coco', src, tmp_path / placement, split=ALL,
                   output=OutputOptions(placement=placement))
    soft, hard = (tmp_path / name / 'images/train/train_1.jpg' for name in ('symlink', 'hardlink'))
    assert soft.is_symlink() and soft.resolve() == original.resolve()
    assert not hard.is_symlink() and hard.samefile(original)


@pytest.mark.parametrize('orientation', ORIENTATIONS)
@pytest.mark.parametrize('upright', [False, True])
def test_masks_refer_to_the_stored_pixels(tmp_path, orientation, upright):
    """Of a rotated photo, whose annotation has the upright or the stored size."""
    root = tmp_path / 'src'
    photo(root / 'images/a.jpg', orientation=orientation)
    stored = np.zeros((HEIGHT, WIDTH), np.uint8)
    stored[3:9, 5:20], stored[5:20, 25:28] = 1, 2
    turned = apply_orientation(stored, orientation)
    is_turned = turned.shape != stored.shape
    save(root / 'labels/a.png', turned if upright and is_turned else stored)
    (root / 'classes.txt').write_text('floor\ncat\ndog\n')
    run_import('semantic', root, tmp_path / 'dst', split=ALL)
    assert (np.asarray(Image.open(tmp_path / 'dst/labels/train/a.png')) == stored).all()


def test_small_objects_become_void(tmp_path):
    annotations = [dict(id=1, image_id=1, category_id=10, segmentation=[square(1, 1, 4, 4)]),
                   dict(id=2, image_id=1, category_id=10, segmentation=[square(8, 1, 18, 11)]),
                   dict(id=3, image_id=1, category_id=11, segmentation=[square(40, 1, 50, 9)])]
    src = coco(tmp_path / 'src', annotations=annotations).parent.parent
    result = run_import('coco', src, tmp_path / 'dst', split=ALL,
                        output=OutputOptions(min_area=20))
    drawn = as_map(panoptic(tmp_path / 'dst')['train_1.jpg'])
    assert (drawn[1:11, 8:18] == 'cat1').all() and (drawn != '').sum() == 100
    assert result.notes == [
        '1 objects lie outside of their image or cover no pixel, and are left out',
        '1 objects have fewer visible pixels than --min-area, and are void']
    kept = json.loads((tmp_path / 'dst/instances_train.json').read_text())['annotations']
    assert len(kept) == 1


@pytest.mark.parametrize(('arguments', 'options', 'text'), [
    (('no', ), {}, f"format 'no' is none of {', '.join(list_formats())}"),
    (('coco', ), dict(read=ReadOptions(label_suffix='_L')), 'the format coco has no '
     '--label-suffix; it has --images, --annotations, --classes, --ignore, --stuff-maps'),
    (('coco', ), dict(output=OutputOptions(task='x')), '--task x is none of panoptic, semantic'),
    (('coco', ), dict(output=OutputOptions(placement='x')), '--images-by x is none of copy, '
     'hardlink, symlink'),
    (('coco', ), dict(workers=0), '--workers 0 must be at least 1'),
    (('pairs', ), dict(read=ReadOptions(instance_ids='x')), '--instance-ids x is none of '
     'per-class, global, channels and no divisor such as 1000'),
    (('coco', ), dict(read=ReadOptions(images='/no/folder')), '--images /no/folder: no such '
     'folder')])
def test_wrong_options(tmp_path, arguments, options, text):
    from pathlib import Path
    src = coco(tmp_path / 'src').parent.parent
    if 'read' in options and options['read'].images:
        options = dict(read=ReadOptions(images=Path('/no/folder')))
    with pytest.raises(SourceError) as error:
        run_import(*arguments, src, tmp_path / 'dst', **options)
    assert str(error.value) == text

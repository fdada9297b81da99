"""The scene generator: determinism, and that what it writes is consistent."""
import json

import cv2
import numpy as np
import pytest

from mmpanseg.datasets import ScenesDataset
from mmpanseg.datasets.scenes import make_scene, write_scenes
from mmpanseg.datasets.scenes.generator import CLASSES, STUFF_CLASSES, THING_CLASSES
from mmpanseg.datasets.scenes.sprites import THINGS, draw_thing

from ... import forked

SIZE = (96, 128)


@pytest.fixture(scope='module')
def scenes():
    return [make_scene(np.random.default_rng(seed), SIZE) for seed in range(40)]


def _files(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob('*.*'))}


def test_same_seed_same_scene():
    first, second, other = (make_scene(np.random.default_rng(s), SIZE) for s in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, second))
    assert not np.array_equal(first[0], other[0])


@pytest.mark.slow
def test_command_writes_the_same_files_as_another_process(tmp_path):
    write_scenes(tmp_path / 'here', 'train', 2, (64, 80), seed=5)
    write_scenes(tmp_path / 'here', 'val', 1, (64, 80), seed=5)
    forked.run(['-m', 'mmpanseg.datasets.scenes', tmp_path / 'there', '--train', '2', '--val', '1',
                '--size', '64', '80', '--seed', '5']).check_returncode()
    here, there = _files(tmp_path / 'here'), _files(tmp_path / 'there')
    assert here == there and len(here) == 8


def test_a_scene_does_not_depend_on_how_many_are_written(tmp_path):
    write_scenes(tmp_path / 'one', 'train', 1, (64, 80))
    write_scenes(tmp_path / 'two', 'train', 2, (64, 80))
    write_scenes(tmp_path / 'val', 'val', 1, (64, 80))
    one, two = _files(tmp_path / 'one'), _files(tmp_path / 'two')
    assert one['train/000000.jpg'] == two['train/000000.jpg'] != two['train/000001.jpg']
    assert _files(tmp_path / 'val')['val/000000.jpg'] != one['train/000000.jpg']


def test_index_map_and_names_fit(scenes):
    for image, index, names in scenes:
        assert image.dtype == np.uint8 and image.shape == (*SIZE, 3)
        assert index.dtype == np.int32 and index.shape == SIZE
        assert np.array_equal(np.unique(index[index >= 0]), np.arange(len(names)))
        stuff = [name for name in names if name in STUFF_CLASSES]
        assert len(set(stuff)) == len(stuff) and set(names) <= set(CLASSES)


def test_scenes_are_varied(scenes):
    names = [name for scene in scenes for name in scene[2]]
    assert set(names) == set(CLASSES)
    counts = [sum(name in THING_CLASSES for name in scene[2]) for scene in scenes]
    assert min(counts) == 0 and max(counts) >= 7
    # several instances of one class side by side, so that counting is needed
    assert any(scene[2].count(name) > 2 for scene in scenes for name in THING_CLASSES)
    assert any((index == -1).any() for _, index, _ in scenes)


def test_color_does_not_tell_the_class(scenes):
    """Nearest mean color, fitted on the very instances it is asked about, is mostly wrong."""
    colors, labels = [], []
    for image, index, names in scenes:
        for k, name in enumerate(names):
            if name in THING_CLASSES:
                colors.append(image[index == k].mean(0))
                labels.append(THING_CLASSES.index(name))
    colors, labels = np.array(colors), np.array(labels)
    means = np.stack([colors[labels == c].mean(0) for c in range(len(THING_CLASSES))])
    guess = ((colors[:, None] - means) ** 2).sum(-1).argmin(1)
    assert (guess == labels).mean() < 0.5


@pytest.mark.parametrize('name', THINGS)
def test_things_have_one_visible_part(name):
    light = np.float32([0.5, -0.6, 0.6])
    for seed in range(5):
        rng = np.random.default_rng(seed)
        color, alpha = draw_thing(rng, name, 40, np.full(3, 0.5), light)
        assert color.shape == (*alpha.shape, 3) and np.isfinite(color).all()
        parts, _, stats, _ = cv2.connectedComponentsWithStats((alpha > 0.5).astype(np.uint8))
        areas = stats[1:, cv2.CC_STAT_AREA]
        assert areas.max() > 0.97 * areas.sum() and parts >= 2
        assert 0.6 * 40 < stats[0, cv2.CC_STAT_HEIGHT] <= 43


def test_dataset_reads_what_is_written(tmp_path):
    write_scenes(tmp_path, 'val', 4, SIZE, seed=1)
    data = ScenesDataset(
        ann_file='annotations/panoptic_val.json', data_root=str(tmp_path),
        data_prefix=dict(img='val', seg='panoptic_val'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='mmpanseg.LoadPanopticMap'),
                  dict(type='mmpanseg.PackPanopticInputs')])
    content = json.loads((tmp_path / 'annotations/panoptic_val.json').read_text())
    assert [c['name'] for c in content['categories']] == list(data.metainfo['classes'])
    for number, sample in enumerate(data):
        rng = np.random.default_rng([1, *b'val', number])
        image, index, names = make_scene(rng, SIZE)
        segments = sample['data_samples'].gt_segments
        assert np.array_equal(segments.map.numpy(), index)
        assert [data.metainfo['classes'][k] for k in segments.labels] == names
        info = content['annotations'][number]['segments_info']
        assert [s['area'] for s in info] == segments.areas().tolist()
        for mask, segment in zip(segments.dense().numpy(), info):
            rows, cols = np.nonzero(mask)
            assert segment['bbox'] == [cols.min(), rows.min(), np.ptp(cols) + 1, np.ptp(rows) + 1]
        difference = sample['inputs'].permute(1, 2, 0).numpy()[..., ::-1].astype(int) - image
        assert np.abs(difference).mean() < 8

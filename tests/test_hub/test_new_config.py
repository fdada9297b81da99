"""Configs for own data: what is read, what is chosen, what is refused."""
import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

import mmpanseg
from mmpanseg.analysis import build_on_meta
from mmpanseg.engine import UsageError
from mmpanseg.hub import find_configs, list_models, resolve
from mmpanseg.hub.config_text import config_text
from mmpanseg.hub.model_choice import choose_model, list_choices, tasks_of
from mmpanseg.hub.new_config import SplitPaths, write_config
from mmpanseg.hub.own_data import OwnData, read_data
from mmpanseg.hub.training_plan import make_plan
from mmpanseg.registry import DATASETS, METRICS

CATEGORIES = [dict(id=7, name='grass', isthing=0, color=[0, 200, 0]),
              dict(id=3, name="cat's", isthing=1, color=[200, 0, 0]),
              dict(id=5, name='{{ dog }}', isthing=1, color=[0, 0, 200])]
SQUARE = [[4, 4, 30, 4, 30, 30, 4, 30]]


@pytest.fixture
def mine(tmp_path):
    """The three tasks in the layout of the import: 4 + 2 images of 48 x 64."""
    root = tmp_path / 'mine'
    for split, count in (('train', 4), ('val', 2)):
        for name in ('images', 'labels'):
            (root / name / split).mkdir(parents=True)
        (root / f'panoptic_{split}').mkdir()
        ids = np.full((48, 64), 7, np.uint8)
        ids[8:30, 10:30] = 3
        images, annotations, objects = [], [], []
        for k in range(count):
            cv2.imwrite(str(root / f'images/{split}/{k}.jpg'), np.dstack([ids * 20] * 3))
            cv2.imwrite(str(root / f'labels/{split}/{k}.png'), (ids == 3).astype(np.uint8))
            cv2.imwrite(str(root / f'panoptic_{split}/{k}.png'), np.dstack([0 * ids, 0 * ids, ids]))
            images.append(dict(id=k, file_name=f'{k}.jpg', height=48, width=64))
            annotations.append(dict(image_id=k, file_name=f'{k}.png', segments_info=[
                dict(id=i, category_id=i, iscrowd=0) for i in (3, 7)]))
            objects.append(dict(id=k + 1, image_id=k, category_id=3, iscrowd=0, area=676,
                                bbox=[4, 4, 26, 26], segmentation=SQUARE))
        write(root / f'panoptic_{split}.json', images, annotations, CATEGORIES)
        write(root / f'instances_{split}.json', images, objects, CATEGORIES[1:])
    (root / 'classes.json').write_text(json.dumps(
        [dict(id=1, name='grass'), dict(id=2, name='cat')]))
    return root


def write(path, images, annotations, categories):
    path.write_text(json.dumps(dict(images=images, annotations=annotations,
                                    categories=categories)))


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


TYPES = dict(panoptic='PanopticDataset', instance='InstanceDataset', semantic='SemanticDataset')


@pytest.mark.parametrize('task', TYPES)
def test_the_config_is_read_and_its_data_load(task, mine, monkeypatch, tmp_path):
    path = write_config(mine, backbone='r18', task=task, steps=40)
    assert path == mine / f'mask2former_r18_mine-{task}.py'
    monkeypatch.chdir(tmp_path)  # the folder of a command does not matter
    cfg = Config.fromfile(path)
    model = build_on_meta(cfg.model)
    labels = dict(panoptic=("cat's", '{{ dog }}', 'grass'), instance=("cat's", '{{ dog }}'),
                  semantic=('grass', 'cat'))[task]
    assert model.num_things_classes == dict(panoptic=2, instance=2, semantic=0)[task]
    assert model.num_stuff_classes == dict(panoptic=1, instance=0, semantic=2)[task]
    for loader, count in ((cfg.train_dataloader, 4), (cfg.val_dataloader, 2)):
        data = DATASETS.build(loader.dataset)
        assert type(data).__name__ == TYPES[task]
        assert (len(data), data.metainfo['classes']) == (count, labels)
        sample = data[0]
        assert sample['inputs'].shape[0] == 3
    assert METRICS.build(cfg.val_evaluator) and cfg.test_evaluator == cfg.val_evaluator
    assert cfg.default_hooks.checkpoint.save_best == dict(
        panoptic='panoptic/PQ', instance='instance/AP', semantic='semantic/mIoU')[task]
    # validations end with the training, and so does the schedule
    assert cfg.train_cfg == dict(type='IterBasedTrainLoop', max_iters=40, val_interval=20)
    assert cfg.param_scheduler[-1].end == 40
    assert 'metainfo' not in cfg and 'data_root' not in cfg


def replace_images(root, make, suffix):
    """Other images in the folders, and in the panoptic JSONs."""
    rng, pixels = np.random.default_rng(0), []
    for split in ('train', 'val'):
        for path in sorted((root / 'images' / split).iterdir()):
            path.unlink()
            image = make(rng)
            if suffix == '.npy':
                np.save(path.with_suffix(suffix), image)
            else:
                assert cv2.imwrite(str(path.with_suffix(suffix)), image)
            pixels += [image.reshape(48 * 64, -1)] if split == 'train' else []
        edit(root / f'panoptic_{split}.json', lambda content: [
            image.update(file_name=f'{image["id"]}{suffix}') for image in content['images']])
    return pixels


@pytest.mark.parametrize('names', [
    ('mask2former', 'r18'), ('kmax_deeplab', 'r18'), ('kmax_deeplab', 'r50'),
    ('panoptic_segformer', 'r50')], ids='-'.join)
@pytest.mark.parametrize('bands', [1, 5])
def test_images_of_other_channels_are_used_whole(names, bands, mine):
    gains = np.array([100, 400, 900, 1600, 2500])[:bands]
    pixels = np.concatenate(replace_images(
        mine, lambda rng: (rng.integers(0, 20, (48, 64, bands)) * gains).astype(np.uint16),
        '.png' if bands == 1 else '.npy'))
    cfg = Config.fromfile(write_config(mine, system=names[0], backbone=names[1], steps=40))
    normalization = cfg.model.data_preprocessor
    np.testing.assert_allclose(normalization.mean, pixels.mean(0), rtol=1e-3)
    np.testing.assert_allclose(normalization.std, pixels.std(0), rtol=1e-3)
    assert cfg.model.get('new_channels') == (
        None if names[1] == 'r18' else 'average' if bands == 1 else 'repeat')
    model = build_on_meta(cfg.model)
    first = next(m for m in model.backbone.modules() if isinstance(m, torch.nn.Conv2d))
    assert first.in_channels == bands
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        image = DATASETS.build(loader.dataset)[0]['inputs']
        assert len(image) == bands and not image.dtype == torch.uint8 and image.max() > 255


def test_colors_of_16_bits_need_no_new_channels(mine):
    replace_images(
        mine, lambda rng: rng.integers(0, 60000, (48, 64, 3)).astype(np.uint16), '.png')
    cfg = Config.fromfile(write_config(mine, system='kmax_deeplab', backbone='r50', steps=40))
    assert 'new_channels' not in cfg.model and cfg.model.backbone.in_channels == 3
    assert min(cfg.model.data_preprocessor.mean) > 20000


def test_images_of_different_channels_are_refused(mine):
    bands = iter((5, 5, 4, 5, 5, 5))
    replace_images(mine, lambda rng: np.zeros((48, 64, next(bands)), np.uint16), '.npy')
    with pytest.raises(UsageError, match=r'0.npy has 5 channels and .*2.npy has 4: convert'):
        write_config(mine)


def test_the_text_is_short_and_gives_reasons(mine):
    path = write_config(mine, system='mask2former', backbone='r50')
    text = path.read_text()
    lines = text.splitlines()
    assert len(lines) < 90 and max(
        len(line) for line in lines if str(mine) not in line) <= 100
    for part in (f'mmpanseg train {path}', '3 classes (2 things, 1 stuff)', '4 images for training',
                 "'mmpanseg::mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'",
                 'palette=[(200, 0, 0), (0, 0, 200), (0, 200, 0)]', 'short sides of 48 pixels',
                 'ImageNet weights of the backbone'):
        assert part in ' '.join(text.replace('\n# ', ' ').split()) or part in text


def all_choices():
    return [(system, backbone, task) for system, backbones in list_choices().items()
            for backbone in backbones for task in tasks_of(system)]


def test_all_published_combinations_are_offered():
    offered = set(all_choices())
    assert {('mask2former', 'swin_l_in21k', 'semantic'), ('mp_former', 'r101', 'instance'),
            ('panoptic_segformer', 'pvtv2_b5', 'panoptic'), ('kmax_deeplab', 'max_s', 'panoptic'),
            ('kmax_deeplab', 'convnext_l_in22k', 'panoptic')} <= offered
    titles = {(system, backbone) for system, backbone, _ in offered}
    folder = find_configs()
    for info in list_models():
        parts = info.config.relative_to(folder).parts
        if len(parts) == 2 and info.dataset == 'COCO' and 'R18' != info.backbone:
            backbone = info.backbone.lower().replace('-', '_').replace(' in_', '_in')
            assert (parts[0], backbone) in titles, info.name


FACTS = dict(root=find_configs(), train=SplitPaths('a.json', 'a', 'a'),
             val=SplitPaths('b.json', 'b', 'b'), colors=(), ignore_index=255, counts=(100, 20),
             most_segments=20)


def facts(task='panoptic', sizes=((480, 640), ), **other):
    things = () if task == 'semantic' else ('cat', )
    stuff = () if task == 'instance' else ('grass', 'sky')
    return OwnData(**{**FACTS, 'task': task, 'things': things, 'stuff': stuff, 'sizes': sizes,
                      **other})


def check_combination(system, backbone, task, path):
    choice = choose_model(task, system, backbone)
    data = facts(task)
    path.write_text(config_text(data, choice, make_plan(data, choice), 'x.py'))
    cfg = Config.fromfile(path)
    base = Config.fromfile(choice.base.config)
    assert cfg.model.backbone == base.model.backbone
    assert (cfg.model.num_things_classes, cfg.model.num_stuff_classes) == (
        len(data.things), len(data.stuff))
    on = {key: value for key, value in cfg.model.test_cfg.items() if key.endswith('_on')}
    assert [key for key, value in on.items() if value] == [f'{task}_on']
    assert cfg.optim_wrapper.optimizer.type == base.optim_wrapper.optimizer.type


@pytest.mark.parametrize('names', [
    ('mask2former', 'swin_t', 'panoptic'), ('mp_former', 'swin_l_in21k', 'semantic'),
    ('panoptic_segformer', 'pvtv2_b2', 'instance'),
    ('kmax_deeplab', 'convnext_t_in22k', 'panoptic')])
def test_a_combination_of_each_system_is_a_config(names, tmp_path):
    check_combination(*names, tmp_path / 'a.py')


@pytest.mark.slow
def test_every_combination_is_a_config(tmp_path):
    for number, names in enumerate(all_choices()):
        check_combination(*names, tmp_path / f'{number}.py')


def plan(backbone='r50', system='mask2former', **given):
    user = {key: given.pop(key) for key in ('batch_size', 'steps', 'epochs', 'short_side')
            if key in given}
    data = facts(**given)
    return make_plan(data, choose_model(data.task, system, backbone), **user)


def test_sizes_come_from_the_images():
    # COCO: as the published models are tested
    found = plan(sizes=((480, 640), ) * 19 + ((480, 800), ))
    assert (found.test_scale, found.crop_size) == ((800, 480), (640, 480))
    # photographs of a camera, upright ones among them
    found = plan(sizes=((3000, 4000), ) * 3 + ((4000, 3000), ))
    assert (found.test_scale, found.crop_size) == ((1067, 800), (1056, 800))
    assert plan(sizes=((3000, 4000), ), short_side=512).test_scale == (683, 512)
    assert plan('r18').test_scale == (171, 128)
    # one size of 32 k + 1 pixels
    found = plan(system='kmax_deeplab')
    assert found.test_scale == found.crop_size == (641, 641)
    assert plan(system='kmax_deeplab', sizes=((3000, 4000), )).crop_size == (1281, 1281)


def test_batch_rate_and_length_come_from_the_data():
    found = plan()
    # 640 x 480 pixels: 2 of them in the room for two crops of 640 x 640
    assert found.batch_size == 2
    assert found.lr == pytest.approx(1e-4 * (2 / 16) ** 0.5, rel=0.02)
    assert plan('swin_l').batch_size == 1
    assert plan(sizes=((256, 256), )).batch_size == 8
    assert plan(batch_size=16).lr == 1e-4
    # 30,000 images for 100 images of data, ten times as many images: 3.16 times as long
    assert (found.steps, plan(counts=(1000, 10)).steps) == (15000, 47400)
    assert plan('r18').steps == 2000 and plan(epochs=3).steps == 150
    assert found.steps % found.val_interval == 0
    assert plan(steps=97).val_interval == 97
    assert plan(most_segments=90).queries is None
    assert plan(most_segments=120).queries == 150


@pytest.mark.slow
def test_a_checkpoint_brings_system_backbone_and_queries(mine, tmp_path):
    cfg = Config.fromfile(choose_model('panoptic', 'kmax_deeplab', 'r18').base.config)
    cfg.model.panoptic_head.num_queries = 24
    torch.save(dict(state_dict={'a': torch.zeros(1)}, meta=dict(cfg=cfg.pretty_text)),
               tmp_path / 'small.pth')
    path = write_config(mine, base=tmp_path / 'small.pth')
    assert path.name == 'kmax_deeplab_r18_mine-panoptic.py'
    made = Config.fromfile(path)
    assert made.load_from == str(tmp_path / 'small.pth')
    assert made.model.panoptic_head.num_queries == 24 and made.model.backbone.init_cfg is None
    with pytest.raises(UsageError, match='has system kmax_deeplab, not mask2former: omit --system'):
        write_config(mine, 'a.py', base=tmp_path / 'small.pth', system='mask2former')
    with pytest.raises(UsageError, match='has backbone r18, not r50: omit --backbone'):
        write_config(mine, 'a.py', base=tmp_path / 'small.pth', backbone='r50')
    cfg.model.backbone.depth = 34
    torch.save(dict(state_dict={'a': torch.zeros(1)}, meta=dict(cfg=cfg.pretty_text)),
               tmp_path / 'other.pth')
    with pytest.raises(UsageError, match='has its backbone mmpanseg.KMaXResNet and 128 channels'):
        write_config(mine, 'a.py', base=tmp_path / 'other.pth')
    with pytest.raises(UsageError, match='is a config without published weights'):
        write_config(mine, 'a.py', base='mask2former_r18_1xb4-scratch-demo_scenes-panoptic')


def test_a_published_model_is_the_base(mine, monkeypatch):
    info = next(info for info in list_models() if info.release and info.dataset == 'Cityscapes'
                and info.task == 'panoptic' and info.system == 'Mask2Former')
    name = info.short_name
    monkeypatch.setattr(resolve, 'resolve_model', lambda *_, **__: SimpleNamespace(
        weights='/cache/a.safetensors', name=name, license='MIT',
        cfg=Config.fromfile(info.config)))
    cfg_path = write_config(mine, base=name)
    made = Config.fromfile(cfg_path)
    assert f'weights of {name} (MIT)' in cfg_path.read_text()
    assert f'mmpanseg::mask2former/{info.name}.py' in cfg_path.read_text()
    assert made.load_from == '/cache/a.safetensors'


def test_other_layouts(mine):
    (mine / 'instances_train.json').rename(mine / 'objects.json')
    path = write_config(mine, backbone='r18', train=SplitPaths('objects.json', 'images/train'),
                        val=SplitPaths('instances_val.json', 'images/val'))
    cfg = Config.fromfile(path)
    assert cfg.train_dataloader.dataset.ann_file == 'objects.json'
    assert cfg.val_evaluator.ann_file == f'{mine}/instances_val.json'
    # things only: their instance JSON keeps overlaps
    for split in ('train', 'val'):
        edit(mine / f'panoptic_{split}.json', lambda c: c['categories'][0].update(isthing=1))
    (mine / 'objects.json').rename(mine / 'instances_train.json')
    assert read_data(mine).task == 'instance'
    (mine / 'names.txt').write_text('meadow\n\ncat\n')
    paths = [SplitPaths('', f'images/{split}', f'labels/{split}') for split in ('train', 'val')]
    assert read_data(mine, None, *paths, classes='names.txt').stuff == ('meadow', 'cat')


def test_scaffold_of_wheel_and_checkout(mine, tmp_path, monkeypatch):
    """`mmpanseg::` is the folder of configs wherever it is; other packages are mmengine's."""
    path = write_config(mine, backbone='r18')
    package = tmp_path / 'site/mmpanseg'
    (package / '.mim').mkdir(parents=True)
    (package / '.mim/configs').symlink_to(find_configs())
    before = Config.fromfile(path)
    monkeypatch.setattr(mmpanseg, '__file__', str(package / '__init__.py'))
    assert Config.fromfile(path).model == before.model
    other = tmp_path / 'other.py'
    other.write_text("_base_ = 'nobody::a/b.py'")
    with pytest.raises(AssertionError, match='does not support to load nobody'):
        Config.fromfile(other)
    other.write_text("_base_ = 'mmpanseg::mask2former/none.py'")
    with pytest.raises(FileNotFoundError, match='none.py'):
        Config.fromfile(other)


def spoil(mine, what):
    """Changes the data."""
    train = mine / 'panoptic_train.json'
    if what == 'no images':
        for path in (mine / 'images/train').iterdir():
            path.unlink()
    elif what == 'no val':
        (mine / 'panoptic_val.json').unlink()
    elif what == 'no json':
        for path in mine.glob('*.json'):
            path.unlink()
        (mine / 'labels/train').rename(mine / 'elsewhere')
    elif what == 'broken':
        train.write_text('{"images": [')
    elif what == 'a list':
        train.write_text('[]')
    elif what == 'categories':
        edit(train, lambda c: c['categories'][0].update(name='lawn'))
    elif what == 'isthing':
        for split in ('train', 'val'):
            edit(mine / f'panoptic_{split}.json', lambda c: c['categories'][0].pop('isthing'))
    elif what == 'twice':
        edit(train, lambda c: c['categories'][0].update(name="cat's"))
    elif what == 'empty':
        edit(train, lambda c: c.update(annotations=[]))
    elif what == 'exists':
        write_config(mine, backbone='r18')
    elif what == 'no classes':
        (mine / 'classes.json').unlink()


@pytest.mark.parametrize(('what', 'options', 'text'), [
    ('no images', {}, r'none of 4 images can be read, for instance .*images/train/0.jpg'),
    ('no val', {}, r'panoptic_\{split\}.json for val is missing.*--val 0.2'),
    ('no json', {}, 'has neither panoptic_train.json nor instances_train.json nor labels/train'),
    ('broken', {}, 'panoptic_train.json cannot be read: Expecting'),
    ('a list', {}, 'is a list: not a COCO JSON'),
    ('categories', {}, 'have different categories'),
    ('isthing', {}, 'categories have no isthing: `mmpanseg doctor --fix` adds it'),
    ('twice', {}, "the class cat's appears twice"),
    ('empty', {}, 'has no annotations: not a COCO panoptic JSON with ground truth'),
    ('exists', {}, 'exists: name another file with --out, or overwrite it with --force'),
    ('no classes', dict(task='semantic'), 'classes.json does not exist: label maps contain no'),
    ('', dict(task='depth'), '--task depth: there are panoptic, instance, semantic'),
    ('', dict(system='yolo'), '--system yolo: there are mask2former, mp_former,'),
    ('', dict(backbone='r34'), '--backbone r34 has no config; mask2former has r101, r18, r50,'),
    ('', dict(backbone='swin'), '--backbone swin is the start of swin_'),
    ('', dict(system='kmax', task='semantic'),
     'kmax_deeplab has no configs for the task semantic, only for panoptic; semantic: --system '
     'mask2former or mp_former'),
    ('', dict(steps=3, epochs=3), '--steps and --epochs exclude each other'),
    ('', dict(out='a.yaml'), 'a.yaml: a config is a Python file'),
    ('', dict(base='nothing'), 'nothing is no config, no checkpoint'),
    ('', dict(train=SplitPaths(images='a')), 'must name the annotations'),
    ('', dict(train=SplitPaths('a.json', 'b')), '--val-json is missing: the task instance needs'),
    ('', dict(train=SplitPaths('instances_train.json', 'images/train', 'panoptic_train'),
              val=SplitPaths('instances_val.json', 'images/val', 'panoptic_val')),
     'is a COCO instance JSON: its task is instance'),
    ('', dict(train=SplitPaths('panoptic_train.json', 'images/train'),
              val=SplitPaths('panoptic_val.json', 'images/val')),
     'is a COCO panoptic JSON: its task is panoptic'),
    ('', dict(train=SplitPaths('none.json', 'images/train'),
              val=SplitPaths('b.json', 'images/val')),
     'none.json does not exist: correct its path')])
def test_mistakes_are_one_line(what, options, text, mine):
    spoil(mine, what)
    options = dict(dict(backbone='r18') if 'base' not in options else {}, **options)
    with pytest.raises(UsageError, match=text) as error:
        write_config(mine, **options)
    assert '\n' not in str(error.value)
    assert not list(mine.glob('*.py')) or what == 'exists'


def test_no_folder(tmp_path):
    with pytest.raises(UsageError, match='none is no folder: name the folder of the data'):
        write_config(tmp_path / 'none')



"""Every piece of config in the documentation is read, and its model, data and metrics are built."""
import copy
import json

import cv2
import numpy as np
import pytest
from blocks import ROOT, blocks_of
from mmengine.config import Config

from mmpanseg.analysis import build_on_meta
from mmpanseg.engine import build_runner
from mmpanseg.registry import DATASETS, METRICS, MODELS

# what blocks without a `_base_` are meant for
USUAL = 'configs/mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'
# package of the example, and the class in it
PACKAGE, CLASS = 'my_package', 'mmpanseg.ClassThresholdFusionHead'


def read(block, folder) -> Config:
    """The block as a user would have it: a file beside the base that it names, or over USUAL."""
    text = block.text
    if '_base_' not in text:
        text = f"_base_ = '{USUAL}'\n{text}"
    where = ROOT if "'configs/" in text else ROOT / 'configs/_base_/datasets'
    text = text.replace("_base_ = './", f"_base_ = '{where}/")
    path = folder / 'block.py'
    path.write_text(text.replace("'configs/", f"'{ROOT}/configs/").replace(f"'{PACKAGE}'", "'os'"))
    return Config.fromfile(path)


@pytest.mark.parametrize('block', blocks_of('config'), ids=str)
def test_configs_are_valid(block, tmp_path):
    cfg = read(block, tmp_path)
    if 'model' in cfg and 'type' in cfg.model:
        if cfg.model.panoptic_fusion_head.type == CLASS:  # registered by the block beside it
            cfg.model.panoptic_fusion_head = dict(type='mmpanseg.PixelwiseFusionHead')
        build_on_meta(cfg.model)
    for loader in ('train_dataloader', 'val_dataloader'):
        dataset = copy.deepcopy(cfg[loader].dataset)
        built = DATASETS.build(dict(dataset, lazy_init=True))
        if 'metainfo' in dataset:
            assert len(built.metainfo['thing_classes']) == cfg.model.num_things_classes
            assert len(built.metainfo['stuff_classes']) == cfg.model.num_stuff_classes
    evaluators = cfg.val_evaluator if isinstance(cfg.val_evaluator, list) else [cfg.val_evaluator]
    for evaluator in evaluators:
        METRICS.get(evaluator.type)
        if 'ann_file' not in evaluator and evaluator.type.startswith('mmpanseg.'):
            METRICS.build(evaluator)


@pytest.fixture
def own_data(tmp_path):
    """data/mine as README describes it: cats and dogs on grass, three images for each split."""
    folder = tmp_path / 'data/mine'
    categories = [dict(id=7, name='grass', isthing=0), dict(id=3, name='cat', isthing=1),
                  dict(id=5, name='dog', isthing=1)]
    colors = {7: (70, 160, 90), 3: (60, 60, 200), 5: (220, 150, 90)}
    for split in ('train', 'val'):
        (folder / split).mkdir(parents=True)
        (folder / f'panoptic_{split}').mkdir()
        images, annotations = [], []
        for k in range(3):
            ids = np.full((48, 64), 7, np.uint8)
            ids[8:30, 4 + 4 * k:24 + 4 * k], ids[20:40, 36:60] = 3, 5
            pixels = np.select([ids[..., None] == i for i in colors], list(colors.values()))
            cv2.imwrite(str(folder / split / f'{k}.jpg'), pixels.astype(np.uint8))
            cv2.imwrite(str(folder / f'panoptic_{split}/{k}.png'),
                        np.dstack([0 * ids, 0 * ids, ids]))
            images.append(dict(id=k, file_name=f'{k}.jpg', height=48, width=64))
            annotations.append(dict(image_id=k, file_name=f'{k}.png', segments_info=[
                dict(id=i, category_id=i, iscrowd=0, area=int((ids == i).sum())) for i in colors]))
        (folder / f'panoptic_{split}.json').write_text(json.dumps(dict(
            images=images, annotations=annotations, categories=categories)))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize('block', [b for b in blocks_of('config') if 'data/mine' in b.text],
                         ids=str)
def test_own_data_train_as_printed(block, own_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = read(block, tmp_path)
    train = cfg.train_dataloader.dataset
    # less of everything that only costs time; no weights, since tests have no network
    cfg.load_from, cfg.work_dir = None, str(tmp_path / 'run')
    cfg.model.backbone.init_cfg = None
    cfg.model.panoptic_head.update(num_queries=6)
    cfg.model.panoptic_head.criterion.num_points = 64
    for pipeline in (train.pipeline, cfg.val_dataloader.dataset.pipeline):
        for step in pipeline:
            if 'scale' in step:
                step.scale = (64, 48)
    cfg.train_cfg.update(max_iters=2, val_interval=2)
    cfg.param_scheduler[1].update(end=2, milestones=[1])
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    cfg.default_hooks.pop('checkpoint')
    runner = build_runner(cfg, 'none')
    runner.train()
    assert runner.train_dataloader.dataset.metainfo['classes'] == ('cat', 'dog', 'grass')
    assert runner.iter == 2
    assert 0 <= runner.message_hub.get_scalar('val/panoptic/PQ').current() <= 100


def test_the_example_of_a_variant(tmp_path):
    """The fusion rule of the page becomes a fusion head by its registered name."""
    name = CLASS.removeprefix('mmpanseg.')
    source, = (b for b in blocks_of('script') if name in b.text)
    config, = (b for b in blocks_of('config') if CLASS in b.text)
    space: dict = {}
    try:
        exec(source.text, space)
        cfg = read(config, tmp_path)
        model = build_on_meta(cfg.model)
        assert type(model.panoptic_fusion_head) is space[name]
    finally:
        MODELS.module_dict.pop(name, None)

"""Tools on images of one name in two folders: as many results as images."""
import json

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmpanseg.datasets.scenes.generator import write_scenes
from mmpanseg.evaluation import pq_compute
from mmpanseg.registry import DATASETS, MODELS

from .. import forked

NAMES = ['a/1', 'b/1']


@pytest.fixture(scope='module')
def folder(tmp_path_factory, repo_root):
    """Config and weights of a small model, and two scenes in folders of their own."""
    init_default_scope('mmdet')
    folder = tmp_path_factory.mktemp('names')
    write_scenes(str(folder), 'val', 2, (64, 64), 0)
    path = folder / 'annotations/panoptic_val.json'
    content = json.loads(path.read_text())
    for name, image in zip(NAMES, content['images']):
        (folder / 'val' / name).parent.mkdir()
        (folder / 'val' / image['file_name']).rename(folder / f'val/{name}.jpg')
        image['file_name'] = f'{name}.jpg'
    path.write_text(json.dumps(content))
    for system in ('mask2former', 'panoptic_segformer'):
        cfg = Config.fromfile(repo_root / (
            f'configs/{system}/{system}_r18_1xb4-scratch-demo_scenes-panoptic.py'))
        cfg.test_dataloader.dataset.data_root = str(folder)
        fusion = cfg.model.panoptic_fusion_head
        fusion.update(dict(object_mask_thr=0.0, iou_thr=0.0) if system == 'mask2former'
                      else dict(t_cnf=0, t_keep=0))
        cfg.test_evaluator.outfile_prefix = str(folder / 'results')
        cfg.dump(folder / f'{system}.py')
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        model.init_weights()
        if system == 'panoptic_segformer':
            for decoder in (model.panoptic_head.mask_decoder,
                            model.panoptic_head.stuff_mask_decoder):
                torch.nn.init.constant_(decoder.tail.mask_generator.fuse.bias, 0.5)
        meta = dict(DATASETS.build(cfg.test_dataloader.dataset).metainfo)
        torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=meta)),
                   folder / f'{system}.pth')
    return folder


def run(repo_root, folder, tool, system, *arguments, before=()):
    done = forked.run([repo_root / f'tools/{tool}.py', *before, f'{system}.py', f'{system}.pth',
                       *arguments], cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*.*'))


@pytest.mark.slow
def test_test_and_image_demo(repo_root, folder):
    run(repo_root, folder, 'test', 'mask2former', '--work-dir', 'run', '--show-dir', 'pictures')
    pictures, = (folder / 'run').glob('*/pictures')
    assert names(pictures) == ['a/1.jpg', 'b/1.jpg']
    assert names(folder / 'results') == ['a/1.png', 'b/1.png']
    run(repo_root, folder, 'image_demo', 'mask2former', '--out', 'demo', '--pred-dir', 'saved',
        '--device', 'cpu', before=['val/**/*.jpg'])
    assert names(folder / 'demo') == ['a/1.png', 'b/1.png']
    # what both tools write has one score
    truth = folder / 'annotations/panoptic_val.json', folder / 'panoptic_val'
    scores = [pq_compute(truth[0], file, truth[1])
              for file in (folder / 'results.json', folder / 'saved/preds/panoptic.json')]
    assert scores[0] == scores[1]


@pytest.mark.slow
def test_attention_maps(repo_root, folder):
    run(repo_root, folder, 'analysis_tools/attention_maps', 'panoptic_segformer', '--out-dir',
        'maps', '--width', '80')
    assert names(folder / 'maps') == ['a/1.png', 'b/1.png']

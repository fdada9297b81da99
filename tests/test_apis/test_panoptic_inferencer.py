"""Predictions from Python and the command line, with a small untrained Mask2Former."""
import io
import json
import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image, ImageOps
from pycocotools import mask as rle_tools
from pycocotools.coco import COCO

from mmpanseg.apis import ImageError, PanopticInferencer
from mmpanseg.structures.exif_orientation import ORIENTATIONS
from mmpanseg.structures.panoptic_png import read_panoptic_png
from mmpanseg.visualization import NoDisplayError

from .. import forked
from ..small_models import spread_queries

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / 'configs/_base_'
SMALL = {
    'model.num_things_classes': 2,
    'model.num_stuff_classes': 1,
    'model.backbone.depth': 18,
    'model.backbone.base_channels': 8,
    'model.backbone.init_cfg': None,
    'model.panoptic_head.in_channels': [8, 16, 32, 64],
    'model.panoptic_head.channels': 32,
    'model.panoptic_head.out_channels': 32,
    'model.panoptic_head.num_queries': 8,
    'model.panoptic_head.pixel_decoder.num_layers': 1,
    'model.panoptic_head.transformer_decoder.num_layers': 1,
    'model.panoptic_fusion_head.object_mask_thr': 0.0,
    'model.panoptic_fusion_head.iou_thr': 0.0,
}
META = dict(thing_classes=('cat', 'dog'), stuff_classes=('grass',),
            classes=('cat', 'dog', 'grass'), palette=[(200, 60, 60), (60, 60, 200), (60, 160, 60)])


@pytest.fixture(scope='module')
def cfg():
    """The library's Mask2Former and runtime, made tiny: three classes, small test images."""
    cfg = Config()
    for part in ('models/mask2former_r50.py', 'default_runtime.py'):
        cfg.merge_from_dict(Config.fromfile(BASE / part).to_dict())
    cfg.merge_from_dict(SMALL)
    cfg.test_dataloader = dict(dataset=dict(
        type='mmpanseg.PanopticDataset', metainfo=META, test_mode=True, ann_file='none.json',
        pipeline=[dict(type='LoadImageFromFile'),
                  dict(type='Resize', scale=(96, 64), keep_ratio=True),
                  dict(type='mmpanseg.PackPanopticInputs')]))
    return cfg


@pytest.fixture(scope='module')
def files(cfg, tmp_path_factory):
    """Folder with config, checkpoint and images of several kinds."""
    folder = tmp_path_factory.mktemp('files')
    cfg.dump(str(folder / 'tiny.py'))
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    spread_queries(model)
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=META)),
               folder / 'tiny.pth')
    torch.save(model.state_dict(), folder / 'weights_only.pth')
    images = folder / 'images'
    images.mkdir()
    rng = np.random.default_rng(0)
    color = cv2.resize(rng.integers(0, 256, (6, 9, 4), dtype=np.uint8), (72, 48))
    cv2.imwrite(str(images / 'a.png'), color[..., :3])
    cv2.imwrite(str(images / 'b.png'), color)
    cv2.imwrite(str(images / 'c.jpg'), color[..., 0])
    (folder / 'empty.jpg').touch()
    (folder / 'text.jpg').write_text('no image')
    return folder


@pytest.fixture(scope='module')
def inferencer(files):
    return PanopticInferencer(str(files / 'tiny.py'), str(files / 'tiny.pth'), device='cpu',
                              show_progress=False)


@pytest.fixture(scope='module')
def expected(files):
    """mmdet's own prediction for a.png."""
    model = init_detector(str(files / 'tiny.py'), str(files / 'tiny.pth'), device='cpu')
    return inference_detector(model, str(files / 'images/a.png'))


def test_mmdets_functions(files, expected):
    assert isinstance(expected, DetDataSample)
    assert expected.pred_panoptic_seg.sem_seg.shape == (1, 48, 72)
    model = init_detector(str(files / 'tiny.py'), str(files / 'tiny.pth'), device='cpu')
    array = cv2.imread(str(files / 'images/a.png'))
    again = inference_detector(model, [array])[0]
    assert torch.equal(again.pred_panoptic_seg.sem_seg, expected.pred_panoptic_seg.sem_seg)


def test_mmdets_inferencer(files, expected, tmp_path):
    inferencer = DetInferencer(str(files / 'tiny.py'), str(files / 'tiny.pth'), device='cpu',
                               show_progress=False)
    result = inferencer(str(files / 'images/a.png'), out_dir=str(tmp_path), no_save_pred=False,
                        return_datasamples=True)
    assert torch.equal(result['predictions'][0].pred_panoptic_seg.sem_seg,
                       expected.pred_panoptic_seg.sem_seg)
    assert (tmp_path / 'vis/a.png').is_file()


def test_prediction(inferencer, files, expected):
    result = inferencer(str(files / 'images/a.png'), return_vis=True)
    prediction = result['predictions'][0]
    coded = expected.pred_panoptic_seg.sem_seg[0].numpy()
    infos = expected.pred_panoptic_seg.metainfo['segments_info']
    assert len(infos) > 1 and len(prediction['segments_info']) == len(infos)
    covered = np.zeros(coded.shape, dtype=bool)
    for segment, info in zip(prediction['segments_info'], infos):
        np.testing.assert_array_equal(prediction['panoptic_seg'] == segment['id'],
                                      coded == info['id'])
        assert segment['class_name'] == META['classes'][info['label']]
        assert segment['isthing'] == (info['label'] < 2)
        covered |= coded == info['id']
    assert (prediction['panoptic_seg'][~covered] == 0).all()
    assert result['visualization'][0].shape[1] >= 640


def test_inputs_of_every_kind(inferencer, files):
    images = files / 'images'
    result = inferencer(str(images))
    assert [p['panoptic_seg'].shape for p in result['predictions']] == [(48, 72)] * 3
    assert inferencer.find_images(str(images / '*.png')) == [
        str(images / 'a.png'), str(images / 'b.png')]
    assert inferencer.find_images([images / 'c.jpg', str(images / 'a.png')]) == [
        str(images / 'c.jpg'), str(images / 'a.png')]
    array = cv2.imread(str(images / 'a.png'))
    same = inferencer([array, str(images / 'a.png')], return_vis=True)
    np.testing.assert_array_equal(*(p['panoptic_seg'] for p in same['predictions']))
    np.testing.assert_array_equal(*same['visualization'])
    gray = cv2.imread(str(images / 'c.jpg'), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(
        inferencer(gray)['predictions'][0]['panoptic_seg'],
        inferencer(cv2.merge([gray] * 3))['predictions'][0]['panoptic_seg'])
    assert inferencer(np.dstack([array, array[..., :1]]))['predictions'][0][
        'panoptic_seg'].shape == (48, 72)


def test_results_in_coco_panoptic_format(inferencer, files, tmp_path):
    inputs = [str(files / 'images/a.png'), str(files / 'images/c.jpg')]
    predictions = inferencer(inputs, out_dir=str(tmp_path))['predictions']
    inferencer(inputs[0], out_dir=str(tmp_path), no_save_vis=True)
    content = json.loads((tmp_path / 'preds/panoptic.json').read_text())
    # predicted again, an image takes its own place
    assert [a['file_name'] for a in content['annotations']] == ['c.png', 'a.png']
    assert [a['image_id'] for a in content['annotations']] == [1, 0]
    assert [c['isthing'] for c in content['categories']] == [1, 1, 0]
    for prediction, annotation in zip(predictions[::-1], content['annotations']):
        ids = read_panoptic_png(tmp_path / 'preds' / annotation['file_name'])
        np.testing.assert_array_equal(ids, prediction['panoptic_seg'])
        for segment in annotation['segments_info']:
            assert segment['area'] == (ids == segment['id']).sum()
    assert len(list((tmp_path / 'vis').iterdir())) == 2


def test_class_names_come_from_the_config_if_need_be(files, inferencer):
    bare = PanopticInferencer(str(files / 'tiny.py'), str(files / 'weights_only.pth'),
                              device='cpu', show_progress=False)
    assert tuple(bare.model.dataset_meta['classes']) == META['classes']
    path = str(files / 'images/a.png')
    np.testing.assert_array_equal(bare(path)['predictions'][0]['panoptic_seg'],
                                  inferencer(path)['predictions'][0]['panoptic_seg'])


ALL_OUTPUTS = {'instance_on': True, 'semantic_on': True}


def with_outputs(files, **test_cfg):
    cfg = Config.fromfile(files / 'tiny.py')
    cfg.model.test_cfg = dict(ALL_OUTPUTS, **test_cfg)
    return cfg


@pytest.mark.parametrize('mask_format', ['dense', 'rle'])
def test_all_outputs_of_one_pass(files, tmp_path, expected, mask_format):
    inferencer = PanopticInferencer(
        with_outputs(files, mask_format=mask_format), str(files / 'tiny.pth'), device='cpu',
        show_progress=False)
    path = str(files / 'images/a.png')
    sample = inferencer(path, return_datasamples=True)['predictions'][0]
    prediction = inferencer([path, path], out_dir=str(tmp_path))['predictions'][0]
    assert torch.equal(sample.pred_panoptic_seg.sem_seg, expected.pred_panoptic_seg.sem_seg)
    np.testing.assert_array_equal(prediction['sem_seg'], sample.pred_sem_seg.sem_seg[0])
    assert len(prediction['instances']) == len(sample.pred_instances.labels) > 4
    for k, found in enumerate(prediction['instances']):
        mask = sample.pred_instances.masks[k]
        mask = rle_tools.decode(mask) if mask_format == 'rle' else mask.numpy()
        np.testing.assert_array_equal(rle_tools.decode(found['mask']), mask)
        assert found['score'] == float(sample.pred_instances.scores[k])
        assert found['class_name'] == META['classes'][found['label']] != 'grass'

    folder = tmp_path / 'preds'
    labels = np.array(Image.open(folder / 'a_semantic.png'))
    np.testing.assert_array_equal(labels, prediction['sem_seg'])
    results = json.loads((folder / 'instances.json').read_text())
    assert {r['image_id'] for r in results} == {0}
    assert len(results) == len(prediction['instances'])
    for result, found in zip(results, prediction['instances']):
        assert result['segmentation'] == found['mask']
    truth = COCO()
    truth.dataset = dict(images=[dict(id=0)], annotations=[], categories=[
        dict(id=number) for number in {r['category_id'] for r in results}])
    truth.createIndex()
    read = truth.loadRes(results).anns.values()
    assert [a['area'] for a in read] == [
        int(rle_tools.area(found['mask'])) for found in prediction['instances']]
    assert {path.name for path in folder.iterdir()} == {
        'a.png', 'a_semantic.png', 'images.json', 'instances.json', 'panoptic.json'}


@pytest.mark.parametrize('switch', ['instance_on', 'semantic_on'])
def test_mmdets_inferencer_with_one_output(files, tmp_path, switch):
    cfg = Config.fromfile(files / 'tiny.py')
    cfg.model.test_cfg = {'panoptic_on': False, switch: True}
    inferencer = DetInferencer(cfg, str(files / 'tiny.pth'), device='cpu', show_progress=False)
    result = inferencer(str(files / 'images/a.png'), out_dir=str(tmp_path), pred_score_thr=0.0,
                        no_save_pred=False)
    assert (tmp_path / 'vis/a.png').is_file()
    assert bool(result['predictions'][0].get('masks')) == (switch == 'instance_on')


def test_tiles(files):
    """Images keep their size, and a tile that holds the whole image gives its result."""
    path = str(files / 'images/a.png')
    cfg = with_outputs(files)
    cfg.test_dataloader.dataset.pipeline.pop(1)
    whole = PanopticInferencer(cfg, str(files / 'tiny.pth'), device='cpu', show_progress=False)
    one = PanopticInferencer(with_outputs(files), str(files / 'tiny.pth'), device='cpu',
                             show_progress=False, tile=(48, 72), overlap=10)
    assert one.model.tiling.tile == (48, 72) and whole.model.tiling is None
    whole, one = (i(path, return_datasamples=True)['predictions'][0] for i in (whole, one))
    assert one.img_shape == (48, 72)
    # tiles number things in another order
    a, b = (sample.pred_panoptic_seg.sem_seg.flatten().tolist() for sample in (whole, one))
    assert len(set(zip(a, b))) == len(set(a)) == len(set(b))
    assert torch.equal(one.pred_sem_seg.sem_seg, whole.pred_sem_seg.sem_seg)

    small = PanopticInferencer(with_outputs(files), str(files / 'tiny.pth'), device='cpu',
                               show_progress=False, tile=(32, 40))
    assert small.model.tiling.overlap == 4
    result = small(path)['predictions'][0]
    assert result['panoptic_seg'].shape == result['sem_seg'].shape == (48, 72)
    with pytest.raises(ValueError, match='overlap is given without tile'):
        PanopticInferencer(with_outputs(files), device='cpu', overlap=4)


def test_images_in_memory(inferencer, files):
    """PIL images, bytes, open files and generators give what the file gives."""
    path = files / 'images/a.png'
    expected = inferencer(path, return_vis=True)

    def one_by_one():
        yield Image.open(path)
        yield path.read_bytes()
        yield path
        yield io.BytesIO(path.read_bytes())
    found = inferencer(one_by_one(), return_vis=True)
    for prediction, picture in zip(found['predictions'], found['visualization']):
        np.testing.assert_array_equal(prediction['panoptic_seg'],
                                      expected['predictions'][0]['panoptic_seg'])
        np.testing.assert_array_equal(picture, expected['visualization'][0])
    assert len(found['predictions']) == len(found['visualization']) == 4
    with open(path, 'rb') as file:
        assert len(inferencer(file)['predictions']) == 1


@pytest.mark.parametrize('ending', ['.jpg', '.webp'])
def test_upright_predictions_and_pictures(inferencer, tmp_path, ending):
    stored = cv2.resize(np.random.default_rng(1).integers(0, 256, (4, 6, 3), dtype=np.uint8),
                        (72, 48))
    for orientation in ORIENTATIONS:
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = Image.fromarray(stored)
        image.save(tmp_path / f'a{ending}', exif=exif, quality=95)
        with Image.open(tmp_path / f'a{ending}') as opened:
            upright = np.asarray(ImageOps.exif_transpose(opened).convert('RGB'))
        drawn = orientation in (1, 6)
        found = inferencer([tmp_path / f'a{ending}', Image.open(tmp_path / f'a{ending}'),
                            np.ascontiguousarray(upright[..., ::-1])], return_vis=drawn)
        *others, expected = (p['panoptic_seg'] for p in found['predictions'])
        assert expected.shape == upright.shape[:2]
        for panoptic_seg in others:
            # decoders of lossy formats differ a little
            assert (panoptic_seg == expected).mean() > 0.98
        if drawn:
            *pictures, expected = found['visualization']
            for shown in pictures:
                assert np.abs(shown.astype(int) - expected).mean() < 4


def test_inference_detector_with_arrays_and_paths(files, expected):
    model = init_detector(str(files / 'tiny.py'), str(files / 'tiny.pth'), device='cpu')
    path = str(files / 'images/a.png')
    for images in ([cv2.imread(path), path], [path, cv2.imread(path)]):
        for found in inference_detector(model, images):
            assert torch.equal(found.pred_panoptic_seg.sem_seg, expected.pred_panoptic_seg.sem_seg)


def test_gray_model(files):
    cfg = Config.fromfile(files / 'tiny.py')
    cfg.model.backbone.in_channels = 1
    cfg.model.data_preprocessor.update(mean=[110.], std=[58.], bgr_to_rgb=False)
    cfg.test_dataloader.dataset.pipeline[0].color_type = 'grayscale'
    inferencer = PanopticInferencer(cfg, device='cpu', show_progress=False)
    path = str(files / 'images/a.png')
    gray = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
    color = cv2.imread(path)
    inputs = [path, gray, gray[..., None], color, cv2.cvtColor(color, cv2.COLOR_BGR2GRAY)]
    found = [p['panoptic_seg'] for p in inferencer(inputs, return_vis=True)['predictions']]
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])
    np.testing.assert_array_equal(found[4], found[3])


def test_show_without_display(inferencer, files, monkeypatch):
    monkeypatch.setattr(pyplot, 'get_backend', lambda: 'agg')
    with pytest.raises(NoDisplayError, match='out_dir'):
        inferencer(str(files / 'images/a.png'), show=True)


@pytest.mark.parametrize('name', ['empty.jpg', 'text.jpg'])
def test_unreadable_image(inferencer, files, name):
    with pytest.raises(ImageError, match=f'{name} cannot be read'):
        inferencer(str(files / name))


def test_missing_image(inferencer, files):
    with pytest.raises(FileNotFoundError, match='no image found at .*nothing'):
        inferencer(str(files / 'nothing*.png'))


def demo(files, *args) -> subprocess.CompletedProcess:
    env = dict(os.environ, OMP_NUM_THREADS='1',
               PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]))
    return forked.run([ROOT / 'tools/image_demo.py', *args], cwd=files, env=env)


@pytest.mark.slow
def test_image_demo(files, tmp_path):
    done = demo(files, 'images', 'tiny.py', 'tiny.pth', '--out', tmp_path, '--device', 'cpu',
                '--score-thr', 0.1)
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.png', 'b.png', 'c.png']
    done = demo(files, 'images/a.png', 'tiny.py', 'tiny.pth', '--out', tmp_path / 'one.png')
    assert cv2.imread(str(tmp_path / 'one.png')).shape[1] >= 640
    done = demo(files, 'images/a.png', 'tiny.py', 'tiny.pth', '--out', tmp_path / 'tiles.png',
                '--tile', 32, 40, '--overlap', 8)
    assert done.returncode == 0 and 'segments ->' in done.stdout
    assert (tmp_path / 'tiles.png').is_file()


@pytest.mark.slow
@pytest.mark.parametrize('args, line', [
    (('images/a.png', 'tiny.py', 'absent.pth'), 'checkpoint absent.pth does not exist'),
    (('images/a.png', 'absent.py', 'tiny.pth'), 'config file absent.py does not exist'),
    (('text.jpg', 'tiny.py', 'tiny.pth'), 'text.jpg cannot be read'),
    (('images/a.png', 'tiny.py', 'tiny.pth', '--show'), 'no window to show pictures in'),
    (('images/a.png', 'tiny.py', 'tiny.pth', '--tile', 32, 40, '--overlap', 32),
     'overlap=32 must be between 1 and 31')])
def test_image_demo_mistakes(files, args, line):
    done = demo(files, *args)
    assert done.returncode == 1
    assert line in done.stderr.strip().splitlines()[-1] and 'Traceback' not in done.stderr

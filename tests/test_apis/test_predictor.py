"""Results of the predictor, against mmdet's functions and models built with the same options."""
import copy
import gc
import json
import weakref

import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector, init_detector
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.dataset import Compose

import mmpanseg
from mmpanseg.apis import FailedInput, PanopticInferencer, Predictor, use_tta
from mmpanseg.apis.config_edits import find_test_dataset

SYSTEMS = ('mask2former', 'mp_former', 'panoptic_segformer', 'kmax_deeplab')
# a head of each rule that fits each system, with the option that score_thr sets
RULES = dict(pixelwise='object_mask_thr', mask_wise='t_cnf', heuristic='score_thr',
             kmax='score_thr')
TYPES = dict(pixelwise='mmpanseg.PixelwiseFusionHead', mask_wise='mmpanseg.MaskWiseFusionHead',
             heuristic='mmpanseg.HeuristicFusionHead', kmax='mmpanseg.KMaXFusionHead')
READING = ('score_activation', 'mask_activation', 'resize_once')


def assert_same(result, sample, rounding=0):
    """Compare a result with what a model returns; scores up to the rounding."""
    if 'pred_panoptic_seg' in sample:
        coded = sample.pred_panoptic_seg
        infos = coded.metainfo['segments_info']
        assert [(s.label, s.score) for s in result.segments] == [
            (info['label'], pytest.approx(info['score'], rel=rounding, abs=0)) for info in infos]
        expected = np.zeros(coded.sem_seg.shape[-2:], int)
        for segment, info in zip(result.segments, infos):
            expected[coded.sem_seg[0].numpy() == info['id']] = segment.id
        np.testing.assert_array_equal(result.panoptic_map, expected)
    if 'pred_sem_seg' in sample:
        np.testing.assert_array_equal(result.semantic_map, sample.pred_sem_seg.sem_seg[0])
    if 'pred_instances' in sample:
        found = sample.pred_instances
        assert len(result.instances) == len(found)
        for place, instance in enumerate(result.instances):
            assert instance.label == found.labels[place]
            assert instance.score == pytest.approx(
                float(found.scores[place]), rel=rounding, abs=0)
            np.testing.assert_array_equal(instance.mask(), found.masks[place])


def same(one, other):
    """Whether two results are equal in every bit."""
    return all(
        (a is None) == (b is None) and (a is None or np.array_equal(a, b)) for a, b in (
            (one.panoptic_map, other.panoptic_map), (one.semantic_map, other.semantic_map))) and [
        (s.label, s.score) for s in one.segments] == [(s.label, s.score) for s in other.segments]


def published(model, cfg, picture, tta=False):
    """What a model returns through its own test_step, for an RGB array."""
    pipeline = [dict(step) for step in find_test_dataset(cfg).pipeline
                if 'LoadPanopticMap' not in step['type']]
    pipeline[0] = dict(type='mmdet.LoadImageFromNDArray')
    data = Compose(pipeline)(dict(img=np.ascontiguousarray(picture[..., ::-1])))
    if tta:
        data = dict(inputs=[[x] for x in data['inputs']],
                    data_samples=[[x] for x in data['data_samples']])
    else:
        data = dict(inputs=[data['inputs']], data_samples=[data['data_samples']])
    with torch.no_grad():
        return model.test_step(data)[0]


@pytest.mark.parametrize('name', SYSTEMS)
def test_results_are_those_of_mmdets_functions(name, predictors, system, pictures, tmp_path):
    predictor = predictors[name]
    model, cfg = system(name)
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=model.dataset_meta)),
               tmp_path / 'model.pth')
    detector = init_detector(cfg, str(tmp_path / 'model.pth'), device='cpu')
    cfg.test_dataloader.dataset.pipeline.pop(2)
    for picture in pictures[:2]:
        sample = inference_detector(detector, np.ascontiguousarray(picture[..., ::-1]))
        assert_same(predictor(picture), sample)
        assert len(predictor(picture)) > 1
    assert predictor.classes == ('cat', 'dog', 'grass', 'sky') and predictor.num_things == 2


@pytest.mark.parametrize('name', [*SYSTEMS, 'detr_panoptic'])
def test_an_image_has_the_same_result_in_a_batch(name, system, pictures):
    model, cfg = system(name)
    predictor = Predictor(model, cfg)
    pictures = pictures[:5]
    # batches of other sizes use other kernels, whose rounding depends on the CPU; double precision
    # shows that nothing else differs
    for kind, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-12)):
        model.to(kind)
        alone = [predictor.logits(picture) for picture in pictures]
        assert len({one.metainfo['batch_input_shape'] for one in alone}) >= 3
        for one, other in zip(alone, predictor.logits(pictures, batch_size=2)):
            torch.testing.assert_close(one.class_logits, other.class_logits, rtol=tolerance,
                                       atol=tolerance)
            # some tens: a part of the largest one
            scale = max(1, float(one.mask_logits.abs().max()))
            torch.testing.assert_close(one.mask_logits, other.mask_logits, rtol=tolerance,
                                       atol=tolerance * scale)
    # in double precision no rounding reaches a threshold
    together = predictor(pictures, batch_size=2)
    assert [one.size for one in together] == [picture.shape[:2] for picture in pictures]
    for logits, other in zip(alone, together):
        one = predictor.fuse(logits)
        np.testing.assert_array_equal(one.panoptic_map, other.panoptic_map)
        np.testing.assert_array_equal(one.semantic_map, other.semantic_map)
        assert [s.score for s in one.instances] == pytest.approx(
            [s.score for s in other.instances], abs=1e-5)


def test_padding_of_others_would_change_a_result(system, pictures):
    """The batch that the predictor avoids: two sizes padded to the larger one."""
    model, cfg = system('mask2former')
    predictor = Predictor(model, cfg)
    data = [predictor._preparation(next(predictor._reader.images(pictures[k]))) for k in (1, 2)]
    batch = model.data_preprocessor(dict(inputs=[d.views[0] for d in data],
                                         data_samples=[d.samples[0] for d in data]), False)
    logits, _ = model.predict_queries(batch['inputs'],
                                      [s.metainfo for s in batch['data_samples']])
    alone = predictor.logits(pictures[2]).class_logits
    assert (logits[1] - alone).abs().max() > 1e-2


@pytest.mark.parametrize('name', SYSTEMS)
@pytest.mark.parametrize('rule', RULES)
def test_options_of_a_call_are_those_of_a_rebuilt_model(name, rule, predictors, system, pictures):
    if name == 'mp_former' and rule != 'pixelwise':
        pytest.skip('its outputs are those of a Mask2Former')
    predictor, picture = predictors[name], pictures[0]
    if name == 'panoptic_segformer' and rule == 'kmax':
        with pytest.raises(ValueError, match='score_activation'):
            predictor(picture, fusion='kmax')
        return
    own = predictor.cfg.model.panoptic_fusion_head
    config = {RULES[rule]: 0.15, 'type': TYPES[rule]}
    if own['type'] == TYPES[rule]:
        config = {**own, **config}
    elif rule != 'kmax':
        config.update({key: own[key] for key in READING if key in own})
    model, cfg = system(name, panoptic_fusion_head=config)
    expected = published(model, cfg, picture)
    found = expected.pred_instances
    expected.pred_instances = found[found.scores >= 0.15]
    options = dict(fusion=rule, score_thr=0.15)
    assert_same(predictor(picture, **options), expected)
    kept = predictor.logits(picture)
    assert_same(predictor.fuse(kept, **options), expected)
    assert_same(predictor.fuse(kept.cpu(), **options), expected)
    assert model.panoptic_fusion_head is not predictor.model.panoptic_fusion_head
    # the model stays as it is
    assert type(predictor.model.panoptic_fusion_head).__name__ == own['type'].split('.')[1]
    assert same(predictor(picture), predictor.fuse(kept))


def test_options_of_the_own_head(predictors, pictures):
    predictor = predictors['mask2former']
    every = predictor(pictures[0])
    least = min(segment.score for segment in every)
    strict = predictor(pictures[0], fusion=dict(object_mask_thr=least))
    assert len(strict) == len(every) - 1
    assert same(strict, predictor(pictures[0], score_thr=least, task='all'))
    assert same(strict, predictor.fuse(predictor.logits(pictures[0]), fusion=dict(
        type='mmpanseg.PixelwiseFusionHead', iou_thr=0.3, object_mask_thr=least)))
    pair = predictor(pictures[0], fusion='mask_wise', score_thr=(0.2, 1.0))
    assert not [s for s in pair.segments if not s.is_thing]


@pytest.mark.parametrize(('task', 'outputs'), [
    ('panoptic', (True, False, False)), ('instance', (False, True, False)),
    ('semantic', (False, False, True)), ('all', (True, True, True))])
def test_tasks(task, outputs, system, predictors, pictures):
    keys = ('panoptic_on', 'instance_on', 'semantic_on')
    model, cfg = system('mask2former', test_cfg=dict(zip(keys, outputs)))
    expected = published(model, cfg, pictures[0])
    predictor = predictors['mask2former']
    result = predictor(pictures[0], task=task)
    assert_same(result, expected)
    assert same(result, predictor.fuse(predictor.logits(pictures[0]), task=task))
    assert (result.panoptic_map is not None, result.instances is not None,
            result.semantic_map is not None) == outputs


@pytest.mark.parametrize('name', ['mask2former', 'kmax_deeplab'])
def test_tiles(name, system, pictures):
    tiles = dict(mode='tile', tile=(48, 64), overlap=16)
    model, cfg = system(name, test_cfg=tiles)
    expected = published(model, cfg, pictures[0])
    predictor = Predictor(model, cfg, batch_size=4)
    result = predictor(pictures[0])
    assert_same(result, expected)
    kept = predictor.logits(pictures[0])
    assert len(kept.parts) == 4
    assert same(result, predictor.fuse(kept))
    assert same(predictor(pictures[0], fusion='mask_wise'),
                predictor.fuse(kept, fusion='mask_wise'))


@pytest.mark.parametrize('name', ['mask2former', 'panoptic_segformer'])
def test_augmented_views(name, system, weights, pictures):
    model, cfg = system(name)
    wrapped = copy.deepcopy(cfg)
    wrapped.tta_scales = (1.0, 0.75)
    predictor = Predictor(model.double(), wrapped, tta=True)
    edited = copy.deepcopy(wrapped)
    find_test_dataset(edited).pipeline.pop(2)
    use_tta(edited)
    tester = MODELS.build(ConfigDict(edited.model))
    tester.module.load_state_dict(weights(name), strict=False)
    expected = published(tester.double().eval(), edited, pictures[0], tta=True)
    result = predictor(pictures[0])
    # scores of a result are float32
    assert_same(result, expected, rounding=1e-6)
    kept = predictor.logits(pictures[0])
    assert len(kept.parts) == 4
    assert same(result, predictor.fuse(kept))
    together = predictor([pictures[0], pictures[3]], batch_size=2)
    np.testing.assert_array_equal(together[0].panoptic_map, result.panoptic_map)


def test_load(system, tmp_path, pictures):
    """By config and checkpoint, by a checkpoint with its config, and a config with overrides."""
    model, cfg = system('mask2former')
    cfg.dump(str(tmp_path / 'tiny.py'))
    meta = dict(dataset_meta=model.dataset_meta, cfg=cfg.pretty_text)
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'tiny.pth')
    expected = Predictor(*system('mask2former'))(pictures[0])
    for source in ((tmp_path / 'tiny.py', tmp_path / 'tiny.pth'), (tmp_path / 'tiny.pth', ),
                   (cfg, str(tmp_path / 'tiny.pth'))):
        assert same(mmpanseg.load(*source, device='cpu')(pictures[0]), expected)
    few = mmpanseg.load(cfg, tmp_path / 'tiny.pth', 'cpu', task='instance', batch_size=2,
                        cfg_options={'model.test_cfg.max_per_image': 3})
    assert 0 < len(few(pictures[0]).instances) <= 3
    assert 'max_per_image' not in cfg.model.test_cfg
    tiled = mmpanseg.load(cfg, tmp_path / 'tiny.pth', 'cpu', tile=(32, 48), overlap=16)
    assert len(tiled.logits(pictures[0]).parts) == 4
    assert 'mode' not in cfg.model.test_cfg


def test_predictor_and_inferencer_agree(system, tmp_path, picture_folder):
    model, cfg = system('mask2former')
    cfg.dump(str(tmp_path / 'tiny.py'))
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=model.dataset_meta)),
               tmp_path / 'tiny.pth')
    cfg.test_dataloader.dataset.pipeline.pop(2)
    cfg.visualizer = dict(type='mmpanseg.PanopticVisualizer', vis_backends=[])
    cfg.dump(str(tmp_path / 'plain.py'))
    inferencer = PanopticInferencer(str(tmp_path / 'plain.py'), str(tmp_path / 'tiny.pth'),
                                    device='cpu', show_progress=False)
    predictor = mmpanseg.load(tmp_path / 'tiny.py', tmp_path / 'tiny.pth', 'cpu')
    files = [str(picture_folder / f'{k}.png') for k in range(3)]
    for prediction, result in zip(inferencer(files)['predictions'], predictor(files)):
        np.testing.assert_array_equal(prediction['panoptic_seg'], result.panoptic_map)
        np.testing.assert_array_equal(prediction['sem_seg'], result.semantic_map)
        assert [(s['id'], s['class_name'], s['score']) for s in prediction['segments_info']] == [
            (s.id, s.name, s.score) for s in result.segments]


def test_classes_of_a_call(predictors, pictures):
    predictor = predictors['mask2former']
    everything = predictor(pictures[0])
    kept = predictor(pictures[0], classes=['dog', 'sky'])
    assert {s.name for s in kept.segments} <= {'dog', 'sky'}
    assert [s.id for s in kept.segments] == [
        s.id for s in everything.segments if s.name in ('dog', 'sky')]
    other = Predictor(predictor.model, predictor.cfg, classes=['dog', 'sky'])
    assert same(other(pictures[0]), kept)


def test_speed_of_each_phase(predictors, pictures, system):
    model, cfg = system('mask2former', test_cfg=dict(mode='tile', tile=(32, 48), overlap=16))
    for predictor in (predictors['mask2former'], Predictor(model, cfg)):
        for result in predictor(pictures[:3], batch_size=2):
            assert list(result.speed) == ['load', 'preprocess', 'forward', 'fuse']
            assert all(0 < spent < 10_000 for spent in result.speed.values())


def test_a_stream_holds_no_results(predictors, pictures):
    """Results and images of a generator die as soon as the caller drops them."""
    predictor = predictors['mask2former']
    given, alive = 0, weakref.WeakSet()

    def camera():
        nonlocal given
        for number in range(40):
            given += 1
            yield pictures[number % 3]

    for batch_size in (1, 2):
        most, taken, given = 0, 0, 0
        for result in predictor.stream(camera(), batch_size=batch_size, task='semantic'):
            taken += 1
            alive.add(result)
            del result
            gc.collect(0)
            most = max(most, len(alive))
            # read ahead by the images that look for others of their size
            assert given - taken <= (0 if batch_size == 1 else 8 * batch_size)
        assert taken == 40
        assert most <= 1 if batch_size == 1 else most <= 8 * batch_size


def test_failed_inputs_keep_their_place(predictors, picture_folder, tmp_path):
    (tmp_path / 'bad.jpg').write_text('no image')
    files = [str(picture_folder / '0.png'), str(tmp_path / 'bad.jpg'), 'absent.png',
             np.zeros((4, 4, 3)), str(picture_folder / '1.png')]
    for batch_size in (1, 3):
        found = list(predictors['mask2former'].stream(
            files, skip_unreadable=True, batch_size=batch_size))
        assert [isinstance(one, FailedInput) for one in found] == [
            False, True, True, True, False]
        assert [one.source for one in found[1:4]] == [
            str(tmp_path / 'bad.jpg'), 'absent.png', 'the given array of 4x4 pixels']
        assert json.dumps([str(one.error) for one in found[1:4]]).count('\\n') == 0
        assert found[4].path == files[4]

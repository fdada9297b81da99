"""Models cast to half or double precision predict the same as before."""
import copy

import pytest
import torch
from mmdet.apis import inference_detector
from mmdet.structures import DetDataSample
from mmengine.config import Config

from mmpanseg.apis import PanopticInferencer
from mmpanseg.models.layers.precision import parameter_dtype
from mmpanseg.registry import MODELS

TYPES = {'half': 1e-2, 'bfloat16': 8e-2, 'double': 1e-5}


def images():
    """Two images of different sizes, so that one is padded."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(256, (3, 70, width), generator=generator, dtype=torch.uint8)
            for width in (96, 64)]


def data():
    return dict(inputs=images(), data_samples=[
        DetDataSample(metainfo=dict(img_shape=image.shape[1:], ori_shape=image.shape[1:]))
        for image in images()])


def raw(model):
    """Probabilities of classes and mask logits, of all queries of both images."""
    batch = model.data_preprocessor(data())
    metainfos = [sample.metainfo for sample in batch['data_samples']]
    # all pairs of query and class of Panoptic SegFormer, in an order independent of rounding
    model.panoptic_head.max_per_image = 1000
    cls_logits, masks, queries = model.panoptic_head.predict_with_queries(
        model.extract_feat(batch['inputs']), metainfos)
    order = (1000 * queries + cls_logits.argmax(-1)).argsort(1)
    cls_logits = torch.take_along_dim(cls_logits, order[..., None], 1)
    return cls_logits.sigmoid(), torch.stack(
        [masks.dense(-1, image, order[image]) for image in range(2)])


def distance(found, expected):
    """Mean absolute difference relative to the mean absolute value, over finite values."""
    assert torch.equal(found.isfinite(), expected.isfinite())
    inside = expected.isfinite()
    found, expected = found[inside].double(), expected[inside].double()
    return ((found - expected).abs().mean() / expected.abs().mean()).item()


@pytest.mark.parametrize('cast', TYPES)
@torch.no_grad()
def test_values_stay(system, cast):
    expected = raw(system.eval())
    segments = [sample.pred_panoptic_seg.sem_seg for sample in system.test_step(data())]
    model = getattr(copy.deepcopy(system), cast)()
    for found, value, name in zip(raw(model), expected, ('classes', 'masks')):
        assert distance(found, value) < TYPES[cast], name
    for sample, expected_map in zip(model.test_step(data()), segments):
        same = (sample.pred_panoptic_seg.sem_seg == expected_map).double().mean()
        assert same > 0.9


def test_one_place_casts_the_images(system):
    seen = []
    system.eval().backbone.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].dtype))
    for cast, dtype in (('half', torch.float16), ('double', torch.float64),
                        ('float', torch.float32)):
        getattr(system, cast)()
        assert parameter_dtype(system.backbone) == dtype
        system.test_step(data())
        assert seen.pop() == dtype


def test_what_half_precision_cannot_hold_stays_exact(system):
    exact = system.data_preprocessor.mean.clone()
    norms = [layer.update_norm for layer in system.modules() if hasattr(layer, 'update_norm')]
    for norm in norms:
        norm.running_var.fill_(1e6)
    system.half()
    assert torch.equal(system.data_preprocessor.mean, exact)
    assert all((norm.running_var == 1e6).all() for norm in norms)
    system.double().float()
    assert {tensor.dtype for tensor in system.state_dict().values()} <= {
        torch.float32, torch.int64}


@pytest.mark.parametrize('backbone, widths', [
    (dict(type='SwinTransformer', embed_dims=8, depths=(1, 2, 1, 1), num_heads=(1, 1, 2, 2),
          window_size=4), [8, 16, 32, 64]),
    (dict(type='mmpanseg.ConvNeXt', arch=((1, 1, 1, 1), (8, 16, 32, 64))), [8, 16, 32, 64]),
    (dict(type='mmpanseg.PVTv2', embed_dims=8, num_layers=(1, 1, 1, 1)), [8, 16, 40, 64])],
    ids=lambda x: x.get('type') if isinstance(x, dict) else '')
@pytest.mark.parametrize('cast', ['half', 'bfloat16'])
@torch.no_grad()
def test_backbones_with_constants_of_their_own(backbone, widths, cast, tiny_model):
    """mmdet's Swin adds a float32 mask to its attention."""
    model = tiny_model('mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py')
    torch.manual_seed(0)
    model.backbone = MODELS.build(backbone)
    model.eval()
    x = torch.randn(1, 3, 72, 96)
    expected = model.extract_feat(x)
    assert [maps.shape[1] for maps in expected] == widths
    for found, value in zip(getattr(model, cast)().extract_feat(x), expected):
        assert distance(found, value) < 2.5 * TYPES[cast]


@pytest.mark.parametrize('cast', ['half', 'bfloat16'])
def test_ways_of_a_user(cast, tiny_model, repo_root):
    name = 'mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'
    model = tiny_model(name).eval()
    model.cfg = Config.fromfile(repo_root / 'configs' / name)
    model.cfg.test_dataloader.dataset.pipeline = [
        dict(type='LoadImageFromFile'), dict(type='mmpanseg.PackPanopticInputs')]
    picture = images()[0].permute(1, 2, 0).numpy()
    expected = inference_detector(model, picture).pred_panoptic_seg.sem_seg
    found = inference_detector(getattr(model, cast)(), picture).pred_panoptic_seg.sem_seg
    assert (found == expected).double().mean() > 0.9


@pytest.mark.parametrize('cast', ['half', 'bfloat16'])
def test_inferencer(cast, repo_root):
    config = Config.fromfile(
        repo_root / 'configs/mask2former/mask2former_r18_1xb4-scratch-demo_scenes-panoptic.py')
    inferencer = PanopticInferencer(config, device='cpu')
    picture = images()[0].permute(1, 2, 0).numpy()

    def segments():
        return inferencer(picture)['predictions'][0]['panoptic_seg']

    expected = segments()
    getattr(inferencer.model, cast)()
    assert (segments() == expected).mean() > 0.9

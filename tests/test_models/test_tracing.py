"""Tracing a model has no side effects: its results are the same before and after."""
import copy
import pickle

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from mmpanseg.models.layers.deformable_sampling import level_sizes
from mmpanseg.models.layers.positional_encoding import pixel_centers, sine_encoding
from mmpanseg.models.pixel_decoders import MSDeformAttnPixelDecoder
from mmpanseg.utils import cached_constants as constants
from mmpanseg.utils.cached_constants import cache_constants

CPU = torch.device('cpu')


class Raw(nn.Module):
    """Model that returns class logits and dense masks of all queries."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        cls_logits, masks = self.model.predict_queries(images, None)
        queries = torch.arange(cls_logits.shape[1])
        return cls_logits, torch.stack(
            [masks.dense(-1, image, queries) for image in range(len(images))])


def fake(model, images):
    state = dict([*model.named_parameters(), *model.named_buffers()])
    with FakeTensorMode() as mode:
        state = {name: mode.from_tensor(tensor) for name, tensor in state.items()}
        out = torch.func.functional_call(model, state, (mode.from_tensor(images), ))
    assert all(type(x) is not torch.Tensor for x in out)


TRACERS = {
    'fake': fake,
    'export': lambda model, x: torch.export.export(model, (x, ), strict=False).module(),
    'strict export': lambda model, x: torch.export.export(model, (x, ), strict=True).module(),
    'make_fx': lambda model, x: make_fx(model)(x),
    'functionalize': lambda model, x: make_fx(torch.func.functionalize(model))(x),
    'jit': lambda model, x: torch.jit.trace(model, x, check_trace=False)}


@pytest.mark.parametrize('tracer', [
    pytest.param(name, marks=() if name == 'fake' else pytest.mark.slow) for name in TRACERS])
@pytest.mark.filterwarnings('ignore')
@torch.no_grad()
def test_a_model_survives(system, tracer):
    model = Raw(system.eval())
    # sizes of no other test, whose constants are not cached yet
    known, new = torch.randn(1, 3, 64, 96), torch.randn(1, 3, 32, 32 * (5 + len(tracer)))
    expected = model(known)
    traced = TRACERS[tracer](model, new)
    torch.testing.assert_close(model(known), expected, rtol=0, atol=0)
    found = model(new)
    assert all(type(x) is torch.Tensor for x in found)
    if traced is not None:
        torch.testing.assert_close(traced(new), found)


@torch.no_grad()
def test_a_model_is_copied_after_use(system):
    model = Raw(system.eval())
    images = torch.randn(1, 3, 64, 96)
    expected = model(images)
    torch.testing.assert_close(copy.deepcopy(model)(images), expected, rtol=0, atol=0)


def test_training_after_inference_mode(system, tiny_batch):
    images, samples = tiny_batch
    metainfos = [sample.metainfo for sample in samples]
    state = copy.deepcopy(system.state_dict())
    torch.manual_seed(3)
    expected = system.loss(images, samples)
    with torch.inference_mode():
        system.eval().predict_queries(images, metainfos)
        system.predict_queries(images[..., :64], [
            dict(meta, img_shape=(64, 64), batch_input_shape=(64, 64)) for meta in metainfos])
    system.train().load_state_dict(state)
    torch.manual_seed(3)
    losses = system.loss(images, samples)
    torch.testing.assert_close(losses, expected, rtol=0, atol=0)
    system.parse_losses(losses)[0].backward()


SHAPES = ((3, 5), (2, 7))
MADE = {
    'sine': lambda: sine_encoding((3, 5), 8, CPU),
    'centers': lambda: pixel_centers(SHAPES, CPU),
    'sizes': lambda: level_sizes(SHAPES, CPU)}


@pytest.mark.parametrize('name', MADE)
def test_constants_are_cached(name):
    first = MADE[name]()
    assert MADE[name]() is first
    with torch.inference_mode():
        assert not MADE[name]().is_inference()


@pytest.mark.filterwarnings('ignore')
@torch.no_grad()
def test_a_pixel_decoder_survives_its_export():
    decoder = MSDeformAttnPixelDecoder([8, 8], 16, num_encoder_levels=1, num_layers=1, num_heads=2,
                                       norm_cfg=dict(type='GN', num_groups=1)).eval()
    maps = [torch.randn(1, 8, 6, 10), torch.randn(1, 8, 3, 5)]
    for strict in (False, True):
        traced = torch.export.export(decoder, (maps, ), strict=strict).module()
        found = decoder(maps)  # computes its constants
        torch.testing.assert_close(traced(maps), found)
        assert type(found[0]) is torch.Tensor


def test_constants_of_every_type_and_device():
    for dtype in (torch.float32, torch.float64, torch.float32):
        assert sine_encoding((3, 5), 8, CPU, dtype).dtype == dtype
        assert pixel_centers(SHAPES, torch.device('meta'), dtype).device.type == 'meta'
        assert pixel_centers(SHAPES, CPU, dtype).device.type == 'cpu'
    centers = pixel_centers(SHAPES, CPU).tolist()
    assert centers[0] == pytest.approx([0.1, 1 / 6])
    assert centers[-1] == pytest.approx([13 / 14, 0.75])
    assert level_sizes(SHAPES, CPU).tolist() == [[5, 3], [7, 2]]


@pytest.mark.parametrize('context', [
    lambda: FakeTensorMode(), torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_tensors_of_tracers_are_not_cached(context):
    @cache_constants(4)
    def ones(count, device):
        return torch.ones(count, device=device), torch.ones(1, requires_grad=False)

    with context():
        ones(3, CPU)
    first, _ = ones(3, CPU)
    assert type(first) is torch.Tensor and not first.is_inference()
    assert first.tolist() == [1, 1, 1] and ones(3, CPU)[0] is first
    weight = torch.ones(3, requires_grad=True)
    (weight * first).sum().backward()  # fails for inference tensors
    assert weight.grad.tolist() == [1, 1, 1]


def test_the_decorated_function_is_pickled():
    assert pickle.loads(pickle.dumps(level_sizes)) is level_sizes
    assert not constants.is_tracing()

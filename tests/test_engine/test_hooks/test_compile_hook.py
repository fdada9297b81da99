"""torch.compile on the parts of the four systems: whole graphs, the same numbers."""
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from torch import nn
from torch._dynamo.utils import counters

from mmpanseg.engine import UsageError, use_compile_hook
from mmpanseg.engine.hooks.compile_hook import compilable_parts
from mmpanseg.models.segmentors import MaskTransformer
from mmpanseg.registry import HOOKS, MODELS
from mmpanseg.structures import SegmentMap

# fewer layers than the small configs have: what is traced is the same
SYSTEMS = {
    'mask2former': dict(pixel_decoder=dict(num_layers=1), transformer_decoder=dict(num_layers=2)),
    'mp_former': dict(pixel_decoder=dict(num_layers=1), transformer_decoder=dict(num_layers=2)),
    'panoptic_segformer': dict(pixel_decoder=dict(num_layers=1)),
    'kmax_deeplab': dict(transformer_decoder=dict(num_layers=(1, 1, 1)))}


class Log:
    lines = []

    def info(self, line):
        self.lines.append(line)


class RunnerOf:
    """What the hook needs of a runner; the model is wrapped, as in a distributed run."""

    def __init__(self, model):
        self.model, self.logger = nn.Module(), Log()
        self.model.module = model


def step(model, height, width):
    """Losses, gradients and predictions of two images."""
    generator = torch.Generator().manual_seed(height)
    images = torch.randn(2, 3, height, width, generator=generator)
    truth = SegmentMap(torch.tensor([0, 1, 7]),
                       map=(torch.arange(height * width).view(height, width) // 500 % 3).int())
    size = (height, width)
    samples = [DetDataSample(metainfo=dict(batch_input_shape=size, img_shape=size, ori_shape=size,
                                           pad_shape=size), gt_segments=truth) for _ in range(2)]
    torch.manual_seed(1)
    model.train().zero_grad()
    total, _ = model.parse_losses(model.loss(images, samples))
    total.backward()
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    with torch.no_grad():
        cls_logits, _ = model.eval().predict_queries(images, [s.metainfo for s in samples])
    return [total.detach(), *gradients, cls_logits]


@pytest.mark.slow
@pytest.mark.parametrize('system', SYSTEMS)
def test_whole_graphs_and_the_same_numbers(system, repo_root):
    config = Config.fromfile(
        repo_root / f'configs/{system}/{system}_r18_1xb4-scratch-demo_scenes-panoptic.py').model
    config.panoptic_head.merge(Config(SYSTEMS[system])._cfg_dict)
    torch.manual_seed(0)
    model = MODELS.build(config)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    expected = step(model, 64, 96)
    model.load_state_dict(state)  # running statistics as before

    torch._dynamo.reset()
    counters.clear()
    HOOKS.build(dict(type='mmpanseg.CompileHook', backend='eager')).before_run(RunnerOf(model))
    torch.testing.assert_close(step(model, 64, 96), expected)
    assert counters['stats']['unique_graphs'] >= len(compilable_parts(model))
    assert not counters['graph_break']
    assert model.state_dict().keys() == state.keys()
    torch._dynamo.reset()


class Parts(MaskTransformer):
    """A segmentor that is built part by part."""

    def __init__(self):
        nn.Module.__init__(self)


def test_parts():
    model = Parts()
    model.backbone, model.panoptic_head = nn.Conv2d(1, 1, 1), nn.Module()
    model.panoptic_head.decoder = nn.TransformerEncoderLayer(8, 1)
    model.panoptic_head.criterion = nn.TransformerEncoderLayer(8, 1)
    model.panoptic_head.embed = nn.Embedding(1, 1)
    model.panoptic_head.mlp = nn.Sequential(nn.Linear(1, 1))
    model.panoptic_head.projections = nn.ModuleList([nn.Linear(1, 1)])
    assert compilable_parts(model) == ['backbone', 'panoptic_head.decoder']


def test_another_model():
    with pytest.raises(ValueError, match='compile=True needs .*MaskTransformer.* a Linear: remove'):
        compilable_parts(nn.Linear(1, 1))


@pytest.mark.parametrize('value, hooks', [
    (True, [dict(type='mmpanseg.CompileHook')]), (False, None), (None, None),
    (dict(dynamic=False), [dict(type='mmpanseg.CompileHook', dynamic=False)])])
def test_key_of_the_config(value, hooks):
    cfg = Config(dict(compile=value))
    use_compile_hook(cfg)
    assert 'compile' not in cfg
    assert cfg.get('custom_hooks') == hooks


def test_hooks_of_the_config_stay():
    cfg = Config(dict(compile=True, custom_hooks=[dict(type='EMAHook')]))
    use_compile_hook(cfg)
    assert [hook.type for hook in cfg.custom_hooks] == ['EMAHook', 'mmpanseg.CompileHook']


def test_wrong_value():
    with pytest.raises(UsageError, match="compile='fast' must be True"):
        use_compile_hook(Config(dict(compile='fast')))

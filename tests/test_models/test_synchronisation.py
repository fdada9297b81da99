"""How often a training step waits for the device: once, for the costs of the assignment."""
import warnings
from collections import Counter
from contextlib import contextmanager

import pytest
import torch
from mmdet.structures import DetDataSample
from torch.utils._python_dispatch import TorchDispatchMode

from mmpanseg.models.layers import deformable_sampling
from mmpanseg.registry import MODELS
from mmpanseg.structures import SegmentMap

# the host needs the value, or the size of the result
READING = {'_local_scalar_dense', 'nonzero', 'masked_select', '_unique2', 'unique_dim',
           'unique_consecutive', 'is_nonzero', 'equal', 'nonzero_numpy'}
OWN = {'deformable_sampling': deformable_sampling._sample,
       'deformable_sampling_backward': deformable_sampling._sample_backward}
METHODS = ('cpu', 'numpy', 'tolist', 'item')


class Readings(TorchDispatchMode):
    """Counts operators that a device has to be waited for, among them those of boolean indices."""

    def __init__(self, found: Counter) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if func.namespace == 'mmpanseg':  # look into this library's own operators
            with self:
                return OWN[name]._init_fn(*args, **kwargs or {})
        boolean = name in ('index', 'index_put', 'index_put_', '_index_put_impl_') and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
        if name in READING or boolean or (
                name == 'repeat_interleave' and isinstance(args[0], torch.Tensor)
                and len(args) == 1 and not (kwargs or {}).get('output_size')):
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def count_readings(monkeypatch):
    """What would make the host wait, by name. `cpu` of a tensor on the CPU reaches no operator."""
    found = Counter()
    with monkeypatch.context() as patch:
        for name in METHODS:
            def method(self, *args, _name=name, _original=getattr(torch.Tensor, name), **kwargs):
                found[_name] += 1
                return _original(self, *args, **kwargs)
            patch.setattr(torch.Tensor, name, method)
        with Readings(found):
            yield found
    # `numpy` of what `cpu` gave moves nothing more
    found['numpy'] -= min(found['numpy'], found['cpu'])
    for name in [name for name, count in found.items() if not count]:
        del found[name]


def build(head: str) -> torch.nn.Module:
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type=head, in_channels=[8, 16, 32, 64], num_things_classes=2, num_stuff_classes=2,
        num_queries=8, channels=32, out_channels=32,
        pixel_decoder=dict(type='mmpanseg.MSDeformAttnPixelDecoder', num_layers=2,
                           feedforward_channels=64),
        transformer_decoder=dict(type='mmpanseg.MaskedAttentionDecoder', num_layers=3,
                                 feedforward_channels=64),
        criterion=dict(type='mmpanseg.MaskCriterion', num_points=64)))
    model.init_weights()
    return model


def batch(device: str = 'cpu') -> tuple[list, list]:
    """Features of two images, one with three segments and one with none."""
    features = [torch.randn(2, c, 96 >> i, 64 >> i, device=device)
                for i, c in enumerate([8, 16, 32, 64], 2)]
    index = torch.full((96, 64), -1, dtype=torch.int32)
    index[10:50, :30], index[50:, 20:], index[:10] = 0, 1, 2
    truths = [SegmentMap(torch.tensor([1, 3, 0]), map=index),
              SegmentMap(torch.zeros(0, dtype=torch.long), map=torch.full_like(index, -1))]
    samples = [DetDataSample(metainfo=dict(batch_input_shape=(96, 64)), gt_segments=truth)
               .to(device) for truth in truths]
    return features, samples


@pytest.mark.parametrize('head', ['mmpanseg.Mask2FormerHead', 'mmpanseg.MPFormerHead'])
def test_training_step_waits_once(head, monkeypatch):
    model = build(head)
    features, samples = batch()
    sum(model.loss(features, samples).values()).backward()  # constants are made once
    with count_readings(monkeypatch) as found:
        sum(model.loss(features, samples).values()).backward()
    assert found == {'cpu': 1}


@pytest.mark.parametrize('head', ['mmpanseg.Mask2FormerHead', 'mmpanseg.MPFormerHead'])
def test_prediction_does_not_wait(head, monkeypatch):
    model = build(head).eval()
    features, _ = batch()
    with torch.no_grad():
        model.predict(features)
        with count_readings(monkeypatch) as found:
            model.predict(features)
    assert not found


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('head', ['mmpanseg.Mask2FormerHead', 'mmpanseg.MPFormerHead'])
def test_cuda_says_the_same(head):
    model = build(head).cuda()
    features, samples = batch('cuda')
    sum(model.loss(features, samples).values()).backward()
    torch.cuda.set_sync_debug_mode('warn')
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            sum(model.loss(features, samples).values()).backward()
    finally:
        torch.cuda.set_sync_debug_mode('default')
    waits = [str(w.message) for w in caught if 'synchroniz' in str(w.message)]
    assert len(waits) == 1, waits


def test_the_count_finds_what_it_looks_for(monkeypatch):
    x = torch.tensor([1., 0., 2.])
    with count_readings(monkeypatch) as found:
        x[x > 0]
        x.nonzero()
        x.cpu().numpy()
        x.sum().item()
        x.tolist()
        x[[0, 1]]
    assert found == {'index': 1, 'nonzero': 1, 'cpu': 1, 'item': 1, '_local_scalar_dense': 1,
                     'tolist': 1}

"""Files of single steps: batches of every kind, generators, files that are none."""
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData, PixelData
from torch import nn

from mmpanseg.checkpoints.sources import CheckpointError
from mmpanseg.engine import UsageError
from mmpanseg.engine.batch_encoding import decode_batch, encode_batch
from mmpanseg.engine.random_states import read_generators, write_generators
from mmpanseg.engine.step_files import BufferCopies, read_step, start_of_step, write_step
from mmpanseg.structures import SegmentMap


def sample() -> DetDataSample:
    made = DetDataSample(
        metainfo=dict(img_path='a.png', img_shape=(4, 6), scale_factor=np.array([1.5, 2.0]),
                      flip=True, homography=None, number=np.int64(3)),
        gt_segments=SegmentMap(torch.tensor([1, 0]), map=torch.arange(24).view(4, 6).int() % 2))
    made.gt_instances = InstanceData(
        labels=torch.tensor([1, 2]), bboxes=HorizontalBoxes(torch.rand(2, 4)),
        masks=BitmapMasks(np.arange(48, dtype=np.uint8).reshape(2, 4, 6) % 2, 4, 6))
    made.ignored_instances = InstanceData(masks=PolygonMasks(
        [[np.array([0.0, 0, 3, 0, 3, 3])]], 4, 6))
    made.gt_sem_seg = PixelData(sem_seg=torch.ones(1, 4, 6, dtype=torch.long))
    return made


def test_a_batch_needs_no_pickled_class(tmp_path):
    batch = dict(inputs=[torch.rand(3, 4, 6)], data_samples=[sample()], path=Path('x'), none=None)
    batch['data_samples'][0].bits = SegmentMap.from_bits(
        torch.tensor([3]), torch.tensor([[[160], [3]]], dtype=torch.uint8), 7)
    torch.save(encode_batch(batch), tmp_path / 'batch.pth')
    found = decode_batch(torch.load(tmp_path / 'batch.pth', weights_only=True))
    assert torch.equal(found['inputs'][0], batch['inputs'][0])
    assert found['path'] == 'x' and found['none'] is None
    one, other = batch['data_samples'][0], found['data_samples'][0]
    assert type(other) is DetDataSample
    assert other.img_path == 'a.png' and other.img_shape == (4, 6) and other.flip is True
    assert other.homography is None and other.number == 3
    assert np.array_equal(other.scale_factor, one.scale_factor)
    assert torch.equal(other.gt_segments.labels, one.gt_segments.labels)
    assert torch.equal(other.gt_segments.map, one.gt_segments.map)
    assert torch.equal(other.bits.dense(), one.bits.dense()) and other.bits.shape == (2, 7)
    ours, theirs = other.gt_instances, one.gt_instances
    assert torch.equal(ours.labels, theirs.labels)
    assert type(ours.bboxes) is HorizontalBoxes
    assert torch.equal(ours.bboxes.tensor, theirs.bboxes.tensor)
    assert np.array_equal(ours.masks.masks, theirs.masks.masks)
    assert ours.masks.masks.dtype == np.uint8
    assert np.array_equal(other.ignored_instances.masks.to_ndarray(),
                          one.ignored_instances.masks.to_ndarray())
    assert torch.equal(other.gt_sem_seg.sem_seg, one.gt_sem_seg.sem_seg)


def draws() -> list:
    return [torch.rand(3).tolist(), np.random.rand(3).tolist(), np.random.randn(), random.random(),
            random.gauss(0, 1)]


def test_generators_continue_where_they_were(tmp_path):
    for _ in range(3):  # an odd number of normal draws: one is kept for later
        draws()
    states = read_generators()
    torch.save(states, tmp_path / 'states.pth')
    expected = [draws() for _ in range(2)]
    draws()
    write_generators(torch.load(tmp_path / 'states.pth', weights_only=True))
    assert [draws() for _ in range(2)] == expected


def test_a_full_disk_leaves_no_part_of_a_file(tmp_path, monkeypatch):
    model = nn.BatchNorm1d(2)
    state = start_of_step(dict(inputs=[torch.ones(1)]), BufferCopies(model))

    def save(content, file):
        file.write(b'part')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(torch, 'save', save)
    with pytest.raises(OSError, match='cannot write .*step.pth: no space left'):
        write_step(tmp_path / 'step.pth', state, model, step=1)
    assert not list(tmp_path.iterdir())


def test_buffers_get_their_former_values():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))
    copies = BufferCopies(model)
    model(torch.randn(4, 2))
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    copies.take()
    model(torch.full((4, 2), torch.nan))
    assert model[0].running_mean.isnan().all() and model[0].num_batches_tracked == 2
    copies.restore()
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, before[name]), name


def test_files_of_other_kinds(tmp_path, tiny_config, tool):
    with pytest.raises(CheckpointError, match='does not exist'):
        read_step(tmp_path / 'absent.pth')
    torch.save(dict(state_dict=dict(a=torch.ones(1))), tmp_path / 'iter_1.pth')
    with pytest.raises(CheckpointError, match='iter_1.pth is not the file of a training step'):
        read_step(tmp_path / 'iter_1.pth')
    with pytest.raises(CheckpointError, match='iter_1.pth is not the file of a training step'):
        tool('analysis_tools/replay_batch', tiny_config, tmp_path / 'iter_1.pth')
    (tmp_path / 'text.pth').write_text('no file')
    with pytest.raises(CheckpointError, match='text.pth'):
        read_step(tmp_path / 'text.pth')


def test_a_step_of_another_model(tmp_path, tiny_config, tool):
    model = nn.Linear(1, 1)
    state = start_of_step(dict(inputs=[torch.ones(3, 8, 8)], data_samples=[sample()]),
                          BufferCopies(model))
    write_step(tmp_path / 'step.pth', state, model, step=1, rank=0, processes=1, autocast=None,
               losses={}, gradient_norms={}, device='cpu')
    with pytest.raises(UsageError, match='step.pth cannot run with .*tiny.py: Error') as error:
        tool('analysis_tools/replay_batch', tiny_config, tmp_path / 'step.pth')
    assert '\n' not in str(error.value)

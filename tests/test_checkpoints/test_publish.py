"""Publishing of checkpoints as mmengine writes them."""
import copy
import datetime
import hashlib

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.hooks import EMAHook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner
from torch import nn

from mmpanseg.checkpoints import CheckpointError
from mmpanseg.checkpoints.publish import published_content, write_published
from mmpanseg.checkpoints.weight_files import read_checkpoint


@pytest.fixture
def checkpoint(tmp_path):
    """A file with logs and the optimizer's state."""
    model = nn.Linear(2, 3)
    content = dict(
        meta=dict(epoch=2, iter=7, cfg='model = 1', time='now', hooks=ConfigDict(a=1),
                  dataset_meta=dict(classes=('a', 'b'), palette=[(1, 2, 3)])),
        state_dict=model.state_dict(), optimizer=dict(state={0: dict(step=torch.ones(1))}),
        message_hub=dict(log_scalars=dict(loss=HistoryBuffer([1.], [1]))))
    torch.save(content, tmp_path / 'iter_7.pth')
    return content, tmp_path / 'iter_7.pth'


def test_only_weights_and_their_description_stay(checkpoint, tmp_path):
    content, path = checkpoint
    out = write_published(published_content(read_checkpoint(path)), tmp_path / 'out/model',
                          datetime.date(2024, 3, 1))
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    assert out.name == f'model_20240301-{digest[:8]}.pth'
    assert [file.name for file in out.parent.iterdir()] == [out.name]
    found = torch.load(out, weights_only=True)
    assert found.keys() == {'meta', 'state_dict'}
    assert found['meta'].keys() == {'mmpanseg_version', 'epoch', 'iter', 'cfg', 'dataset_meta'}
    assert found['meta']['dataset_meta']['classes'] == ('a', 'b')
    for key, value in content['state_dict'].items():
        assert torch.equal(found['state_dict'][key], value)


def test_averaged_or_last_weights(tmp_path):
    """What a training with mmengine's hook saves."""
    class Model(nn.Linear):
        def train_step(self, data, optim_wrapper):
            with torch.no_grad():
                self.weight += 1
            return dict(loss=self.weight.sum())

    hook = EMAHook(momentum=0.5)
    model = Model(1, 1)
    start = copy.deepcopy(model.weight.detach())
    runner = Runner(
        model, str(tmp_path), train_dataloader=dict(
            dataset=[torch.ones(1)] * 2, batch_size=1, num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False)),
        train_cfg=dict(by_epoch=False, max_iters=2), default_scope='mmengine',
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), custom_hooks=[hook],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2)),
        experiment_name=tmp_path.name)
    runner.train()
    saved = read_checkpoint(tmp_path / 'iter_2.pth')
    last = published_content(saved, averaged=False)
    assert torch.equal(last['state_dict']['weight'], start + 2)
    assert last['meta']['averaged'] is False
    for choice in (None, True):
        mean = published_content(saved, choice)
        assert mean['meta']['averaged'] and mean['state_dict'].keys() == {'weight', 'bias'}
        assert start < mean['state_dict']['weight'] < start + 2


def test_impossible_wishes(checkpoint):
    with pytest.raises(CheckpointError, match='no averaged weights'):
        published_content(checkpoint[0], averaged=True)
    with pytest.raises(CheckpointError, match='no state_dict'):
        published_content(dict(model={}))


def test_numbers_that_are_not_finite_are_not_published(checkpoint):
    content, _ = checkpoint
    content['state_dict']['bias'] = torch.tensor([1.0, float('nan'), float('inf')])
    with pytest.raises(CheckpointError, match=r'1 of 2 tensors: bias \(2 of 3 numbers\)'):
        published_content(content)

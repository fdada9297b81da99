"""Batches of one image, on runners with real loops and samplers."""
import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from mmpanseg.engine.hooks import BatchSizeHook
from mmpanseg.models.heads.kmax_semantic_heads import KMaXSemanticHead
from mmpanseg.utils.modules import single_value_norms


class Model(BaseModel):
    def __init__(self, norm):
        super().__init__()
        self.head = KMaXSemanticHead([4, 4, 4, 4], 2, 4, (4, 4), norm_cfg=norm)

    def forward(self, x, mode='loss', **others):
        x = torch.stack(x)
        maps = [x[:, :, :size, :size] for size in (8, 4, 2, 1)]
        return dict(loss=self.head(maps).square().mean())


class Data(BaseDataset):
    def load_data_list(self):
        return [dict(x=torch.randn(4, 8, 8)) for _ in range(5)]


def train(tmp_path, size, sampler='DefaultSampler', norm=dict(type='BN'), epochs=True, **loader):
    model = Model(norm)
    Runner(
        model, str(tmp_path), train_dataloader=dict(
            dataset=Data(), batch_size=size, num_workers=0, sampler=dict(type=sampler), **loader),
        train_cfg=dict(by_epoch=True, max_epochs=2) if epochs else dict(
            by_epoch=False, max_iters=4),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), default_scope='mmengine',
        custom_hooks=[BatchSizeHook()], experiment_name=tmp_path.name).train()
    return model


def test_one_image_per_batch_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'model\.head\.aspp is normalized over the images of a '
                       r'batch.*train_dataloader\.batch_size is 1: use at least two images per '
                       r'process \(train_dataloader\.batch_size=2\), or SyncBN'):
        train(tmp_path, 1)


def test_the_last_batch_of_an_epoch(tmp_path):
    with pytest.raises(ValueError, match=r'last batch of an epoch has one \(5 images in batches '
                       r'of 2\): set train_dataloader\.drop_last=True'):
        train(tmp_path, 2)
    train(tmp_path / 'dropped', 2, drop_last=True)
    train(tmp_path / 'three', 3)
    # never ends, so that its batches are always full
    train(tmp_path / 'infinite', 2, 'InfiniteSampler', epochs=False)


def test_what_needs_no_other_images_may_have_one(tmp_path):
    model = train(tmp_path, 1, norm=dict(type='GN', num_groups=1))
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_synchronized_norms_read_other_processes(monkeypatch):
    model = nn.Sequential(Model(dict(type='SyncBN')))
    assert single_value_norms(model) == ['0.head.aspp']
    monkeypatch.setattr('mmpanseg.utils.modules.get_world_size', lambda: 2)
    assert not single_value_norms(model)
    assert single_value_norms(Model(dict(type='BN'))) == ['head.aspp']

"""kMaX-DeepLab from files to gradients, with copy-paste, and back to a result."""
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope

from mmpanseg.datasets.scenes.generator import write_scenes
from mmpanseg.registry import DATASETS, MODELS

SIZE = (65, 97)


@pytest.fixture(scope='module')
def batch(tmp_path_factory):
    """Two samples of the published pipeline at a small size."""
    folder = tmp_path_factory.mktemp('scenes')
    write_scenes(str(folder), 'train', 3, (48, 64), 0)
    init_default_scope('mmdet')
    jitter = dict(type='mmpanseg.LargeScaleJitter', size=SIZE, scale_range=(0.5, 1.5))
    color = dict(type='mmpanseg.SSDColorJitter')
    dataset = DATASETS.build(dict(
        type='mmpanseg.ResamplingMixDataset',
        dataset=dict(
            type='mmpanseg.ScenesDataset', data_root=str(folder),
            ann_file='annotations/panoptic_train.json',
            data_prefix=dict(img='train/', seg='panoptic_train/'),
            pipeline=[dict(type='LoadImageFromFile'), dict(type='mmpanseg.LoadPanopticMap')]),
        pipeline=[jitter, color,
                  dict(type='mmpanseg.PanopticCopyPaste', size=SIZE, transforms=[jitter, color]),
                  dict(type='mmpanseg.FilterLabeledPixels', min_pixels=64),
                  dict(type='mmpanseg.PackPanopticInputs')]))
    return pseudo_collate([dataset[0], dataset[2]])


@pytest.fixture
def config(repo_root):
    config = Config.fromfile(repo_root / 'configs/_base_/models/kmax_r18_small.py')
    config.merge_from_dict(dict(model=dict(
        num_things_classes=6, num_stuff_classes=6, data_preprocessor=dict(size=SIZE),
        backbone=dict(base_channels=8),
        panoptic_head=dict(
            in_channels=[8, 16, 32, 64], num_queries=8, query_channels=16, channels=16,
            embed_channels=8, pixel_decoder=dict(base_channels=(16, 16, 8, 8)),
            transformer_decoder=dict(base_channels=8, ffn_channels=16),
            semantic_head=dict(channels=8, low_level_channels=(8, 8)),
            criterion=dict(num_pixels=64, num_semantic_pixels=64)))))
    return config.model


@pytest.mark.parametrize('interaction, deep_supervision', [
    ('k-means', False), ('dual-path-k-means', False), ('cross-attention', False),
    ('cross-attention', True), ('dual-path-cross-attention', False)])
def test_every_parameter_learns(config, batch, interaction, deep_supervision):
    config.panoptic_head.transformer_decoder.update(
        interaction=interaction, deep_supervision=deep_supervision)
    torch.manual_seed(0)
    model = MODELS.build(config)
    for name, parameter in model.named_parameters():
        # norms that start with scale 0 would stop the gradients behind them
        if parameter.ndim == 1 and name.endswith('weight'):
            torch.nn.init.ones_(parameter)
    model.train()
    data = model.data_preprocessor(batch, True)
    assert data['inputs'].shape == (2, 3, *SIZE)
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    assert loss.isfinite()
    loss.backward()
    # distributed training would wait for those without
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert not without
    model.eval()
    result = model(data['inputs'], data['data_samples'], mode='predict')[0]
    assert result.pred_panoptic_seg.sem_seg.shape[-2:] == tuple(result.ori_shape)


def test_drop_query_halves_the_queries_of_training_only(config, batch):
    config.panoptic_head.update(num_queries=9, num_train_queries=4)
    model = MODELS.build(config)
    model.train()
    data = model.data_preprocessor(batch, True)
    features = model.extract_feat(data['inputs'])
    for training, used in ((True, 4), (False, 9)):
        model.train(training)
        cls_logits = model.panoptic_head(features)[0]
        assert cls_logits.shape[2] == used
        # each of the queries that count is another row of the table
        weight = model.panoptic_head.query_feat.weight
        gradient, = torch.autograd.grad(
            (cls_logits * torch.randn_like(cls_logits)).sum(), weight, retain_graph=True)
        assert (gradient.abs().sum(1) > 0).sum() == used


def test_one_image_of_a_batch_says_why_and_what_to_do(config, batch):
    model = MODELS.build(config)
    data = model.data_preprocessor(
        dict(inputs=batch['inputs'][:1], data_samples=batch['data_samples'][:1]), True)
    with pytest.raises(ValueError, match=r'in a batch of 1 image\(s\) of 65x97: use at least two '
                       r'images per process \(train_dataloader.batch_size=2\)'):
        model(**data, mode='loss')
    # evaluation has means and variances of its own
    model.eval().panoptic_head.loss(model.extract_feat(data['inputs']), data['data_samples'])

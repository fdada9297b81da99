"""Every ablation config changes only what its name states, and trains."""
import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from mmpanseg.models.task_modules.bipartite_matching import Matches
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import MaskRows, ProductMaskLogits
from mmpanseg.structures.segment_map import SegmentBatch, SegmentMap

FOLDER = 'configs/mask2former/ablations'
SIZE = (64, 96)
PREDICTIONS = {'evaluated', 'trained'}
# aspects of the computation that differ from the default's, see `aspects`
CHANGED = {
    'mask2former_r50_zero-queries': {*PREDICTIONS, 'names'},
    'mask2former_r50_unsupervised-queries': {'names'},
    'mask2former_r50_self-attention-first': PREDICTIONS,
    'mask2former_r50_dropout': {'trained'},
    'mask2former_r50_zero-queries-self-attention-first-dropout': {*PREDICTIONS, 'names'},
    'mask2former_r50_plain-attention': PREDICTIONS,
    'mask2former_r50_smca': PREDICTIONS,
    'mask2former_r50_mask-pooling': PREDICTIONS,
    'mask2former_r50_scale-32': PREDICTIONS,
    'mask2former_r50_scale-16': PREDICTIONS,
    'mask2former_r50_scale-8': PREDICTIONS,
    'mask2former_r50_naive-multi-scale': PREDICTIONS,
    'mask2former_r50_mask-matching-mask-loss': {'costs', 'losses'},
    'mask2former_r50_mask-matching-point-loss': {'costs'},
    'mask2former_r50_point-matching-mask-loss': {'losses'},
    'mask2former_r50_50-queries': PREDICTIONS,
    'mask2former_r50_200-queries': PREDICTIONS,
    'mask2former_r50_300-queries': PREDICTIONS,
    'mask2former_r50_1000-queries': PREDICTIONS,
    'mask2former_r50_fpn': PREDICTIONS,
    'mask2former_r50_semantic-fpn': PREDICTIONS,
    'mask2former_r50_fapn': PREDICTIONS,
    'mask2former_r50_bifpn': PREDICTIONS,
    'maskformer_r50': {*PREDICTIONS, 'names'},
    'maskformer_r50_fpn': {*PREDICTIONS, 'names'},
    'maskformer_r50_8xb2-ms-75e': {*PREDICTIONS, 'names', 'costs', 'losses'},
}


def find(repo_root, name):
    """Config file whose name starts with a model and setting, '8xb2-lsj-50e' unless said."""
    name = name if '8xb2' in name else f'{name}_8xb2-lsj-50e'
    return repo_root / FOLDER / f'{name}_coco-panoptic.py'


def small(path):
    """A config with all parts of its model made tiny."""
    config = Config.fromfile(path)
    head = config.model.panoptic_head
    layer = dict(num_layers=1, num_heads=4, feedforward_channels=32)
    has_encoder = head.pixel_decoder.type in (
        'mmpanseg.MSDeformAttnPixelDecoder', 'mmpanseg.TransformerFPNPixelDecoder')
    config.merge_from_dict(dict(model=dict(
        backbone=dict(depth=18, base_channels=8, init_cfg=None),
        panoptic_head=dict(
            in_channels=[8, 16, 32, 64], channels=32, out_channels=32,
            num_queries=head.num_queries // 10,
            pixel_decoder=layer if has_encoder else {},
            transformer_decoder=dict(layer, num_layers=3),
            criterion=dict(num_points=64)))))
    return config


def build(config):
    init_default_scope(config.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    return model


@pytest.fixture(scope='module')
def default(repo_root):
    model = build(small(
        repo_root / 'configs/mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'))
    for parameter in model.parameters():  # no parameter keeps an initial 0 or 1
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=1.5 / parameter[0].numel()**0.5)
        else:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope='module')
def batch():
    torch.manual_seed(0)
    index = torch.tensor([[0, 0, 1], [2, -1, 1]]).repeat_interleave(32, 0).repeat_interleave(32, 1)
    samples = [
        DetDataSample(metainfo=dict(batch_input_shape=SIZE), gt_segments=SegmentMap(
            torch.tensor([0, 1, 90]), map=index.int())) for _ in range(2)]
    return torch.randn(2, 3, *SIZE), samples


def aspects(model, images, samples):
    """Aspects of a model's computation, which an option changes or not."""
    result = {}
    with torch.no_grad():
        for name, mode in (('evaluated', False), ('trained', True)):
            model.train(mode)
            torch.manual_seed(0)
            cls_logits, masks = model(images, samples, mode='tensor')
            result[name] = torch.cat([
                cls_logits[-1].flatten(),
                torch.einsum('bqc,bchw->bqhw', masks.embeds[-1], masks.features).flatten()])
        torch.manual_seed(0)
        result['names'] = torch.tensor(len(model.loss(images, samples)))
        # matching and losses of predictions that do not depend on the model
        criterion = model.panoptic_head.criterion
        segments = SegmentBatch([s.gt_segments for s in samples], SIZE)
        torch.manual_seed(0)
        cls_logits = torch.randn(2, 2, 5, criterion.num_classes + 1)
        masks = ProductMaskLogits(torch.randn(2, 2, 5, 4), torch.randn(2, 4, 16, 24))
        torch.manual_seed(0)
        result['costs'] = criterion.cost_matrices(cls_logits, masks, segments)[0]
        rows = MaskRows(torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1]),
                        torch.tensor([2, 3, 0, 4]), [2, 2])
        matches = Matches(rows, torch.tensor([0, 1, 2, 0]))
        torch.manual_seed(0)
        result['losses'] = torch.stack([
            *criterion.loss_masks(masks, matches, segments).values(),
            criterion.loss_cls(cls_logits, matches, segments)])
    return result


def same(a, b):
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', CHANGED)
def test_switch_changes_what_it_says(repo_root, name, default, batch):
    model = build(small(find(repo_root, name)))
    own = model.state_dict()
    model.load_state_dict({
        key: value for key, value in default.state_dict().items()
        if key in own and own[key].shape == value.shape}, strict=False)
    found, expected = aspects(model, *batch), aspects(default, *batch)
    assert {key for key in found if not same(found[key], expected[key])} == CHANGED[name]


@pytest.mark.parametrize('name', CHANGED)
def test_two_steps_of_training(repo_root, name, batch):
    config = small(find(repo_root, name))
    model = build(config).train()
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    before = {key: value.clone() for key, value in model.named_parameters()}
    totals = []
    for _ in range(2):
        total, _ = model.parse_losses(model.loss(*batch))
        total.backward()
        # a parameter without gradient is an error in distributed training
        assert [key for key, value in model.named_parameters()
                if value.requires_grad and value.grad is None] == []
        wrapper.optimizer.step()
        wrapper.zero_grad()
        totals.append(total.detach())
    assert torch.isfinite(torch.stack(totals)).all() and totals[0] != totals[1]
    moved = {key for key, value in model.named_parameters() if not torch.equal(value, before[key])}
    for part in ('backbone.', 'panoptic_head.pixel_decoder.', 'panoptic_head.query_embed.',
                 'panoptic_head.transformer_decoder.layers.0.cross_attn.',
                 'panoptic_head.transformer_decoder.layers.0.self_attn.',
                 'panoptic_head.mask_embed.', 'panoptic_head.cls_embed.'):
        assert any(key.startswith(part) for key in moved), part


def test_all_configs_are_tested(repo_root):
    assert {find(repo_root, name) for name in CHANGED} == set((repo_root / FOLDER).glob('*.py'))


def test_published_settings(repo_root):
    """Settings of Tables 4, X and XI that only the full-size configs contain."""
    def load(name):
        return Config.fromfile(find(repo_root, name))

    for queries in (50, 200, 300, 1000):
        head = load(f'mask2former_r50_{queries}-queries').model.panoptic_head
        assert head.num_queries == queries
    assert load('mask2former_r50_dropout').model.panoptic_head.transformer_decoder.dropout == 0.1
    maskformer = load('maskformer_r50_8xb2-ms-75e')
    assert maskformer.model.panoptic_head.transformer_decoder.num_layers == 6
    assert maskformer.optim_wrapper.optimizer.lr == maskformer.optim_wrapper.optimizer.weight_decay
    batch_size = 8 * maskformer.train_dataloader.batch_size
    assert round(maskformer.train_cfg.max_iters * batch_size / 118287) == 75


def test_standard_augmentation(repo_root):
    pipeline = Compose(Config.fromfile(
        find(repo_root, 'maskformer_r50_8xb2-ms-75e')).train_dataloader.dataset.pipeline[2:])
    np.random.seed(0)
    short_sides = set()
    for _ in range(20):
        sample = pipeline(dict(
            img=np.zeros((120, 160, 3), np.uint8), img_shape=(120, 160), ori_shape=(120, 160),
            gt_seg_map=np.zeros((120, 160), np.int32), gt_segment_labels=np.zeros(1, np.int64)))
        shape = tuple(sample['inputs'].shape[1:])
        assert sample['data_samples'].gt_segments.shape == shape
        assert max(shape) <= 1333
        short_sides.add(min(shape))
    assert len(short_sides) > 5 and max(short_sides) <= 800

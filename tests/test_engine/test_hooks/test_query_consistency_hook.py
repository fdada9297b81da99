"""The hook's numbers in the log of a validation, against the metric by hand."""
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from mmpanseg.engine.hooks import QueryConsistencyHook
from mmpanseg.evaluation import QueryConsistencyMetric, trace_queries
from mmpanseg.registry import MODELS
from mmpanseg.structures import SegmentMap


class Images(Dataset):
    metainfo = dict(classes=('a', 'b'))

    def __len__(self):
        return 4

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        cells = torch.arange(4).clamp(max=index).view(2, 2).int()
        return dict(
            inputs=torch.randint(0, 255, (3, 32, 32), dtype=torch.uint8, generator=generator),
            data_samples=DetDataSample(
                metainfo=dict(img_shape=(32, 32), ori_shape=(32, 32), scale_factor=(1, 1)),
                gt_segments=SegmentMap(
                    torch.zeros(index + 1, dtype=torch.long),
                    map=cells.repeat_interleave(16, 0).repeat_interleave(16, 1))))


class Count(BaseMetric):

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(images=float(len(results)))


@pytest.mark.parametrize('part', ['matching', 'piloted'])
def test_hook_logs_with_the_scores(tmp_path, part):
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='mmpanseg.MaskTransformer', num_things_classes=1, num_stuff_classes=1,
        data_preprocessor=dict(type='mmdet.DetDataPreprocessor', pad_size_divisor=32),
        backbone=dict(type='mmdet.ResNet', depth=18, base_channels=8, num_stages=4,
                      out_indices=(0, 1, 2, 3), style='pytorch'),
        panoptic_head=dict(
            type='mmpanseg.MPFormerHead', in_channels=[8, 16, 32, 64], channels=16,
            out_channels=16, num_queries=5,
            pixel_decoder=dict(type='mmpanseg.MSDeformAttnPixelDecoder', num_layers=1,
                               num_heads=2, feedforward_channels=16,
                               norm_cfg=dict(type='GN', num_groups=4)),
            transformer_decoder=dict(type='mmpanseg.MaskedAttentionDecoder', num_layers=2,
                                     num_heads=2, feedforward_channels=16),
            criterion=dict(type='mmpanseg.MaskCriterion', num_points=16))))
    runner = Runner(
        model=model, work_dir=str(tmp_path), val_cfg=dict(), val_evaluator=[Count()],
        val_dataloader=DataLoader(Images(), batch_size=2, collate_fn=pseudo_collate),
        custom_hooks=[QueryConsistencyHook(num_images=3, part=part)], default_scope='mmdet',
        experiment_name=f'hook-{part}')
    runner.val()
    metric = QueryConsistencyMetric()
    for index in range(3):
        metric.process(None, trace_queries(model, pseudo_collate([Images()[index]]), part))
    expected = metric.evaluate(3)
    assert {'mIoU-L_1', 'mIoU-L_2', 'Util_0', 'Util_2'} <= expected.keys()
    scalars = runner.message_hub.log_scalars
    for name, value in expected.items():
        assert scalars[f'val/queries/{name}'].current() == pytest.approx(value)
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'queries/mIoU-L_1' in log and 'images: 2.0' in log


class Detector(BaseModel):

    def forward(self, inputs, data_samples=None, mode='tensor'):
        raise NotImplementedError


@pytest.mark.parametrize('head', ['KMaXDeepLabHead', 'PanopticSegFormerHead', None])
def test_other_heads_are_refused_before_the_run(tmp_path, repo_root, head):
    """Also a model without such a head at all; nothing is validated first."""
    if head is None:
        model, name = Detector(), 'Detector'
    else:
        folder = dict(KMaXDeepLabHead='kmax_deeplab').get(head, 'panoptic_segformer')
        cfg = Config.fromfile(repo_root / f'configs/_base_/models/'
                              f'{folder.removesuffix("_deeplab")}_r18_small.py')
        model, name = MODELS.build(cfg.model), head
    runner = Runner(
        model=model, work_dir=str(tmp_path), val_cfg=dict(), val_evaluator=[Count()],
        val_dataloader=DataLoader(Images(), batch_size=2, collate_fn=pseudo_collate),
        custom_hooks=[QueryConsistencyHook()], default_scope='mmdet',
        experiment_name=f'hook-{name}')
    with pytest.raises(ValueError, match=f'{name} has no predictions of every .*Mask2FormerHead'):
        runner.val()

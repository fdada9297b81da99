# Five stages: the stem's map joins. It has stride 4 here, as in the PyTorch version, so no map has
# stride 2.
_base_ = [
    '../_base_/models/kmax_r50.py',
    '../_base_/datasets/cityscapes_panoptic_kmax.py',
    '../_base_/evaluators/three_tasks.py',
    '../_base_/schedules/kmax_60k_cityscapes.py',
    '../_base_/default_runtime.py']

model = dict(
    num_things_classes=8,
    num_stuff_classes=11,
    test_cfg=dict(instance_on=True, semantic_on=True),
    data_preprocessor=dict(size=(1025, 2049)),
    backbone=dict(with_stem=True),
    panoptic_head=dict(
        in_channels=[64, 256, 512, 1024, 2048],
        num_queries=256,
        pixel_decoder=dict(
            num_blocks=(1, 5, 1, 1, 1),
            base_channels=(512, 256, 128, 64, 32),
            stage_types=('axial', 'axial', 'bottleneck', 'bottleneck', 'bottleneck'),
            stem_before_res2=True),
        semantic_head=dict(type='mmpanseg.KMaXSimpleSemanticHead'),
        criterion=dict(pixel_temperature=0.6, num_semantic_pixels=0)),
    panoptic_fusion_head=dict(score_thr=(0.5, 0.3), overlap_thr=0.9, mask_power=0))
val_evaluator = _base_.pop('three_tasks')
val_evaluator[1].ann_file = (
    _base_.val_dataloader.dataset.data_root + 'annotations/instances_val.json')
test_evaluator = val_evaluator

# D-DETR-MS (appendix A.2): Deformable DETR with iterative refinement and boxes for all classes, and
# DETR's mask head on attention maps at stride 32. Masks are matched by class and box, and trained
# along with the boxes by the dice loss. The score threshold is our choice.
_base_ = '../panoptic_segformer_r50_8xb1-50e_coco-panoptic.py'

detection_costs = [
    dict(type='mmpanseg.FocalClassificationCost', weight=2.0),
    dict(type='mmpanseg.LocationL1Cost', weight=5.0),
    dict(type='mmpanseg.LocationGIoUCost', weight=2.0)]
model = dict(
    backbone=dict(out_indices=(0, 1, 2, 3)),
    panoptic_head=dict(
        type='mmpanseg.DETRPanopticHead',
        in_channels=[256, 512, 1024, 2048],
        mask_decoder=dict(_delete_=True, type='mmpanseg.DETRMaskDecoder', num_heads=8),
        stuff_mask_decoder=None,
        criterion=dict(
            assigner=dict(num_rounds=1), location_costs=detection_costs,
            mask_costs=detection_costs)),
    panoptic_fusion_head=dict(
        _delete_=True,
        type='mmpanseg.PixelwiseFusionHead',
        object_mask_thr=0.3,
        iou_thr=0.0,
        weighted=False,
        filter_low_score=False,
        score_activation='sigmoid',
        mask_activation='none'))
del detection_costs

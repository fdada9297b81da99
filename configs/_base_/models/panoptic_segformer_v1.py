# The first version: one set of queries for all classes, all of which the mask decoder receives;
# center and scale as the target of the location decoder, in training only. Its encoder is mmdet's
# Deformable DETR, with four levels; masks are computed from three of them. A config uses it by
#   model = _base_.pop('v1')
v1 = dict(
    panoptic_head=dict(
        num_queries=400,
        location='center_scale',
        filter_queries=False,
        class_from='mask',
        location_decoder=dict(refine=False),
        mask_decoder=dict(num_layers=4, self_attention=True, tail=False),
        stuff_mask_decoder=None,
        criterion=dict(
            mask_costs=[
                dict(type='mmpanseg.FocalClassificationCost', weight=1.0),
                dict(type='mmpanseg.SquaredDiceCost', weight=1.0)],
            mask_cls_weight=1.0,
            dice_weight=1.0,
            location_weight=5.0,
            balance='none')),
    # Algorithm 1
    panoptic_fusion_head=dict(alpha=1, beta=0, t_cnf=0.3, t_keep=0))

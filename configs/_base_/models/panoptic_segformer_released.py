# Where the released code differs from the paper, and branches that its checkpoints hold. A config
# uses it by
#   model = _base_.pop('released')
released = dict(
    panoptic_head=dict(
        mask_decoder=dict(classify=True, locate=True),
        criterion=dict(
            assigner=dict(num_rounds=1),
            balance='batch',
            stuff_cls_without_things=False)),
    panoptic_fusion_head=dict(t_keep=(0.6, 0.8), extra_pixels=1))

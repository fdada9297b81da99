# One round of matching selects queries, as in the released code, which ignores its own setting.
_base_ = '../panoptic_segformer_r50_8xb1-24e_coco-panoptic.py'

model = dict(panoptic_head=dict(criterion=dict(assigner=dict(num_rounds=1))))

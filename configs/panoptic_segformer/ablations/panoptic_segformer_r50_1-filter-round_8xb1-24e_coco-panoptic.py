# One round of matching selects queries, whatever is asked for, as in the released code.
_base_ = '../panoptic_segformer_r50_8xb1-24e_coco-panoptic.py'

model = dict(panoptic_head=dict(criterion=dict(assigner=dict(num_rounds=1))))

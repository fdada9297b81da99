# The setting of the released code's run scripts, for its checkpoint: one copy of every segment,
# no noise on masks, a label may flip to itself, no position codes of queries.
_base_ = './mp_former_r50_8xb2-lsj-12e_coco-panoptic.py'

model = dict(panoptic_head=dict(
    query_pos='none',
    piloting=dict(num_groups=1, budget=None, mask_noise='none', label_flip='any')))

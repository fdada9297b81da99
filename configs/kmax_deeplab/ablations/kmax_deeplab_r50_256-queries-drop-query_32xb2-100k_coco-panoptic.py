# A random half of the queries takes part in each training iteration.
_base_ = './kmax_deeplab_r50_256-queries_32xb2-100k_coco-panoptic.py'

model = dict(panoptic_head=dict(num_train_queries=128))

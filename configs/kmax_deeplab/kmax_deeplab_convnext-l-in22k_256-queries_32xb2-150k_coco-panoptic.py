# Drop-query regularization: each training iteration uses a random half of the queries.
_base_ = './kmax_deeplab_convnext-l-in22k_32xb2-150k_coco-panoptic.py'

model = dict(panoptic_head=dict(num_queries=256, num_train_queries=128))

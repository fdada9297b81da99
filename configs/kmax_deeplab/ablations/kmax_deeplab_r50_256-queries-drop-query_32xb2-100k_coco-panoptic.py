# Each training iteration uses a random half of the queries.
_base_ = './kmax_deeplab_r50_256-queries_32xb2-100k_coco-panoptic.py'

model = dict(panoptic_head=dict(num_train_queries=128))

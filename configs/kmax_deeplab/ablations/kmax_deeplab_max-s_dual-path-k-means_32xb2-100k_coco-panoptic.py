_base_ = './kmax_deeplab_max-s_32xb2-100k_coco-panoptic.py'

model = dict(panoptic_head=dict(transformer_decoder=dict(interaction='dual-path-k-means')))

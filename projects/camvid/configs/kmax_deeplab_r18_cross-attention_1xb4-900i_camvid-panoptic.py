# For comparison: queries attend to pixels instead of collecting those of their cluster.
_base_ = './kmax_deeplab_r18_1xb4-900i_camvid-panoptic.py'

model = dict(panoptic_head=dict(transformer_decoder=dict(interaction='cross-attention')))

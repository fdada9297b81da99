_base_ = './kmax_deeplab_max-s_cross-attention_32xb2-100k_coco-panoptic.py'

model = dict(panoptic_head=dict(transformer_decoder=dict(deep_supervision=True)))

_base_ = './mask2former_swin-l-p4-w12-384-in21k_16xb1-160k_ade20k-instance.py'

model = dict(panoptic_head=dict(
    pixel_decoder=dict(_delete_=True, type='mmpanseg.FaPNPixelDecoder')))
# no level encoding in this pixel decoder
optim_wrapper = dict(paramwise_cfg=dict(decayed_embeddings=[]))

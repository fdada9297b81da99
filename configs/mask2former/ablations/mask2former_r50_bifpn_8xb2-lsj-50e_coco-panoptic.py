# Pixel decoder BiFPN (Table 4e).
_base_ = '../mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'

model = dict(panoptic_head=dict(
    pixel_decoder=dict(_delete_=True, type='mmpanseg.BiFPNPixelDecoder')))
# no level encoding in this pixel decoder
optim_wrapper = dict(paramwise_cfg=dict(decayed_embeddings=[]))

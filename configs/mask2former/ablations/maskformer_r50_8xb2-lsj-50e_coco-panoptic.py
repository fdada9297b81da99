# MaskFormer, trained as Mask2Former is: its decoder (Table XIb) behind its pixel decoder, six
# transformer encoder layers on the coarsest map before an FPN (Table XIc, second row).
_base_ = '../mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'

model = dict(panoptic_head=dict(
    levels=[0],
    query_feat='zero',
    pixel_decoder=dict(_delete_=True, type='mmpanseg.TransformerFPNPixelDecoder'),
    transformer_decoder=dict(
        num_layers=6, cross_attention='plain', order=['self', 'cross', 'ffn'], dropout=0.1)))
# no level encoding in this pixel decoder
optim_wrapper = dict(paramwise_cfg=dict(decayed_embeddings=[]))

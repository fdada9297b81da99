# MaskFormer's decoder behind a plain FPN, trained as Mask2Former is (Table XId, first row).
_base_ = './maskformer_r50_8xb2-lsj-50e_coco-panoptic.py'

model = dict(panoptic_head=dict(
    pixel_decoder=dict(_delete_=True, type='mmpanseg.FPNPixelDecoder')))

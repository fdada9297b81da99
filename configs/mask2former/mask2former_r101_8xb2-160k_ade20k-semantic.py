_base_ = [
    './mask2former_r50_8xb2-160k_ade20k-semantic.py',
    '../_base_/backbones/r101.py']

# The released code trains the batch norms of this model.
model = dict(backbone=dict(
    **_base_.pop('backbone'), norm_cfg=dict(type='SyncBN', requires_grad=True), norm_eval=False))

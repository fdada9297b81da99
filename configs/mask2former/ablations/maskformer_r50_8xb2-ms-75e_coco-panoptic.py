# MaskFormer with its own training parameters (Table XIa; XIc, first row): whole masks, focal loss,
# standard scale augmentation with crop, 554 400 iterations of 16 images, less weight decay.
_base_ = './maskformer_r50_8xb2-lsj-50e_coco-panoptic.py'

model = dict(panoptic_head=dict(criterion=dict(
    match_costs=[
        dict(type='mmpanseg.ClassificationCost', weight=1.0),
        dict(type='mmpanseg.MaskFocalCost', weight=20.0),
        dict(type='mmpanseg.MaskDiceCost', weight=1.0)],
    cls_weight=1.0,
    mask_weight=20.0,
    dice_weight=1.0,
    mask_loss='focal',
    match_on='masks',
    loss_on='masks')))

# the short side is one of these, the long side at most 1333; half of the images are cropped before
short_sides = dict(
    type='RandomChoiceResize', keep_ratio=True, resize_type='Resize',
    scales=[(1333, side) for side in range(480, 801, 32)])
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='mmpanseg.LoadPanopticMap', backend_args=None),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomChoice', transforms=[
        [short_sides],
        [dict(type='RandomChoiceResize', keep_ratio=True, resize_type='Resize',
              scales=[(1333, 400), (1333, 500), (1333, 600)]),
         dict(type='RandomCrop', crop_size=(384, 600), crop_type='absolute_range',
              allow_negative_crop=True),
         short_sides]]),
    dict(type='mmpanseg.PackPanopticInputs')]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
del short_sides, train_pipeline

optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
param_scheduler = dict(end=554400, milestones=[369600])
train_cfg = dict(max_iters=554400)

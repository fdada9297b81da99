# COCO instances: flip, short side 480 to 800, long side at most 1333.
_base_ = './coco_instance_lsj.py'

train_dataloader = dict(
    batch_size=1,
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),
    dataset=dict(
        filter_cfg=dict(_delete_=True, filter_empty_gt=False, min_size=32),
        pipeline=[
            dict(type='LoadImageFromFile', backend_args=None),
            dict(type='mmpanseg.LoadInstanceMasks'),
            dict(type='RandomFlip', prob=0.5),
            dict(type='RandomChoiceResize', scales=[(1333, 32 * k) for k in range(15, 26)],
                 resize_type='Resize', keep_ratio=True),
            dict(type='mmpanseg.PackPanopticInputs', drop_empty=True)]))

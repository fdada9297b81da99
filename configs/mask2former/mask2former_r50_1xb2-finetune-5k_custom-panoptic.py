# Start here with your own data: set the two numbers of classes and the data root.
_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/datasets/custom_panoptic.py',
    '../_base_/schedules/finetune_5k.py',
    '../_base_/default_runtime.py']

# mmdetection's Mask2Former of COCO panoptic, whose parameters have the same names. For a machine
# without network: download it and name the file, or None to start from the backbone's weights.
load_from = ('https://download.openmmlab.com/mmdetection/v3.0/mask2former/'
             'mask2former_r50_8xb2-lsj-50e_coco-panoptic/'
             'mask2former_r50_8xb2-lsj-50e_coco-panoptic_20230118_125535-54df384a.pth')
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(interval=500, max_keep_ckpts=2, save_best='panoptic/PQ'))

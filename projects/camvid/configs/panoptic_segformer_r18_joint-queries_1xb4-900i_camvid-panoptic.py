# One set of queries for things and stuff: as many as the decoupled model has altogether.
_base_ = './panoptic_segformer_r18_1xb4-900i_camvid-panoptic.py'

model = dict(panoptic_head=dict(num_queries=67, stuff_mask_decoder=None))

# Multi-scale and flip testing (`tools/test.py --tta`), as published for semantic segmentation:
# factors of the size in the test pipeline.
tta_model = dict(type='mmpanseg.PanopticTTAModel')
tta_scales = (1.0, 0.5, 0.75, 1.25, 1.5, 1.75)
tta_flip = True

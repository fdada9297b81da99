from .cost import count_flops, count_parameters, mean_flops
from .meta import build_on_meta
from .sizes import coco_test_sizes

__all__ = ['build_on_meta', 'coco_test_sizes', 'count_flops', 'count_parameters', 'mean_flops']

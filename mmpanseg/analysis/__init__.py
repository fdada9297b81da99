from mmpanseg.analysis.cost import (
    build_on_meta,
    coco_test_sizes,
    count_flops,
    count_parameters,
    mean_flops,
)

__all__ = ['build_on_meta', 'coco_test_sizes', 'count_flops', 'count_parameters', 'mean_flops']

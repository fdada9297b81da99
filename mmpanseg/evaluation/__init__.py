from mmpanseg.evaluation.boundary_and_size_pq import image_pq_variants
from mmpanseg.evaluation.instance_metric import BoundaryAPMetric, InstanceMetric
from mmpanseg.evaluation.panoptic_metric import PanopticMetric
from mmpanseg.evaluation.panoptic_quality import PanopticDataError, PanopticMap, PQStat, image_pq
from mmpanseg.evaluation.pq_compute import pq_compute
from mmpanseg.evaluation.query_consistency import (
           QueryConsistencyMetric,
           mask_consistency,
           query_utilization,
)
from mmpanseg.evaluation.query_trace import check_traceable, trace_queries
from mmpanseg.evaluation.semantic_metric import SemanticMetric

__all__ = ['BoundaryAPMetric', 'InstanceMetric', 'PQStat', 'PanopticDataError', 'PanopticMetric',
           'QueryConsistencyMetric', 'PanopticMap', 'SemanticMetric', 'check_traceable', 'image_pq',
           'image_pq_variants', 'mask_consistency', 'pq_compute', 'query_utilization',
           'trace_queries']

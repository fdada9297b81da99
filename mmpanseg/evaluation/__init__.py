from .instance_metric import BoundaryAPMetric, InstanceMetric
from .panoptic_metric import PanopticMetric
from .panoptic_quality import PanopticDataError, PQStat, Segments, image_pq
from .panoptic_variants import image_pq_variants
from .pq_compute import pq_compute
from .query_consistency import QueryConsistencyMetric, mask_consistency, query_utilization
from .query_trace import check_traceable, trace_queries
from .semantic_metric import SemanticMetric

__all__ = ['BoundaryAPMetric', 'InstanceMetric', 'PQStat', 'PanopticDataError', 'PanopticMetric',
           'QueryConsistencyMetric', 'Segments', 'SemanticMetric', 'check_traceable', 'image_pq',
           'image_pq_variants', 'mask_consistency', 'pq_compute', 'query_utilization',
           'trace_queries']

from .instance_metric import BoundaryAPMetric, InstanceMetric
from .panoptic_metric import PanopticMetric
from .panoptic_quality import PanopticDataError, PQStat, Segments, image_pq
from .panoptic_variants import image_pq_variants
from .pq_compute import pq_compute
from .semantic_metric import SemanticMetric

__all__ = ['BoundaryAPMetric', 'InstanceMetric', 'PQStat', 'PanopticDataError', 'PanopticMetric',
           'Segments', 'SemanticMetric', 'image_pq', 'image_pq_variants', 'pq_compute']

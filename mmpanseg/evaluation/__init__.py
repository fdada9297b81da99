from .panoptic_metric import PanopticMetric
from .panoptic_quality import PanopticDataError, PQStat, Segments, image_pq
from .pq_compute import pq_compute

__all__ = ['PQStat', 'PanopticDataError', 'PanopticMetric', 'Segments', 'image_pq', 'pq_compute']

from .class_consistency_hook import ClassConsistencyHook
from .compile_hook import CompileHook
from .load_summary_hook import LoadSummaryHook
from .query_consistency_hook import QueryConsistencyHook
from .run_summary_hook import RunSummaryHook
from .schedule_consistency_hook import ScheduleConsistencyHook
from .visualization_hook import PanopticVisualizationHook

__all__ = ['ClassConsistencyHook', 'CompileHook', 'LoadSummaryHook', 'PanopticVisualizationHook',
           'QueryConsistencyHook', 'RunSummaryHook', 'ScheduleConsistencyHook']

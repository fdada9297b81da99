from mmpanseg.engine.hooks.activation_checkpointing_hook import ActivationCheckpointingHook
from mmpanseg.engine.hooks.compile_hook import CompileHook
from mmpanseg.engine.hooks.data_consistency_hooks import BatchSizeHook, ClassConsistencyHook
from mmpanseg.engine.hooks.load_summary_hook import LoadSummaryHook
from mmpanseg.engine.hooks.query_consistency_hook import QueryConsistencyHook
from mmpanseg.engine.hooks.run_summary_hook import RunSummaryHook
from mmpanseg.engine.hooks.schedule_consistency_hook import ScheduleConsistencyHook
from mmpanseg.engine.hooks.visualization_hook import PanopticVisualizationHook

__all__ = ['ActivationCheckpointingHook', 'BatchSizeHook', 'ClassConsistencyHook', 'CompileHook',
           'LoadSummaryHook', 'PanopticVisualizationHook', 'QueryConsistencyHook',
           'RunSummaryHook', 'ScheduleConsistencyHook']

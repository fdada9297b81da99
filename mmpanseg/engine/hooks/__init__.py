from mmpanseg.engine.hooks.activation_checkpointing_hook import ActivationCheckpointingHook
from mmpanseg.engine.hooks.checkpoint_hook import SafeCheckpointHook
from mmpanseg.engine.hooks.checkpoint_meta_hook import CheckpointMetaHook
from mmpanseg.engine.hooks.class_scores_hook import ClassScoresHook
from mmpanseg.engine.hooks.compile_hook import CompileHook
from mmpanseg.engine.hooks.data_check_hook import DataCheckHook
from mmpanseg.engine.hooks.data_consistency_hooks import BatchSizeHook, ClassConsistencyHook
from mmpanseg.engine.hooks.gradient_norm_hook import GradientNormHook
from mmpanseg.engine.hooks.interruption_hook import InterruptionHook
from mmpanseg.engine.hooks.load_summary_hook import LoadSummaryHook
from mmpanseg.engine.hooks.non_finite_hook import FiniteCheckpointHook, NonFiniteHook
from mmpanseg.engine.hooks.query_consistency_hook import QueryConsistencyHook
from mmpanseg.engine.hooks.resume_hook import ResumeHook
from mmpanseg.engine.hooks.run_summary_hook import RunSummaryHook
from mmpanseg.engine.hooks.schedule_consistency_hook import ScheduleConsistencyHook
from mmpanseg.engine.hooks.visualization_hook import PanopticVisualizationHook

__all__ = ['ActivationCheckpointingHook', 'BatchSizeHook', 'CheckpointMetaHook',
           'ClassConsistencyHook', 'ClassScoresHook', 'CompileHook', 'DataCheckHook',
           'FiniteCheckpointHook', 'GradientNormHook', 'InterruptionHook',
           'LoadSummaryHook', 'NonFiniteHook', 'PanopticVisualizationHook',
           'QueryConsistencyHook', 'ResumeHook', 'RunSummaryHook', 'SafeCheckpointHook',
           'ScheduleConsistencyHook']

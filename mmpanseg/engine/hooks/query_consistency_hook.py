"""Consistency of queries over the decoder layers, logged in training."""
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmpanseg.evaluation.query_consistency import QueryConsistencyMetric
from mmpanseg.evaluation.query_trace import check_traceable, trace_queries
from mmpanseg.registry import HOOKS
from mmpanseg.utils.modules import unwrap_model


@HOOKS.register_module()
class QueryConsistencyHook(Hook):
    """Logs mIoU-L^i and Util^i of the first validation images with each validation's scores.

    The names are ``val/queries/mIoU-L_1`` and so on, see :class:`QueryConsistencyMetric`.

    Args:
        num_images: number of images, divided among the processes.
        part: ``'matching'`` or ``'piloted'``, see :func:`trace_queries`.
        match_on: ``'points'`` or ``'masks'``, see :func:`trace_queries`.

    Raises:
        ValueError: before a run, if the queries of the model cannot be traced.
    """

    def __init__(self, num_images: int = 50, part: str = 'matching',
                 match_on: str = 'points') -> None:
        self.num_images = num_images
        self.part = part
        self.match_on = match_on

    def before_run(self, runner: Runner) -> None:
        check_traceable(unwrap_model(runner.model), self.part, self.match_on)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        model = check_traceable(unwrap_model(runner.model), self.part, self.match_on)
        loader = runner.val_dataloader
        count = min(self.num_images, len(loader.dataset))
        metric = QueryConsistencyMetric(prefix='queries')
        for index in range(get_rank(), count, get_world_size()):
            data = loader.collate_fn([loader.dataset[index]])
            metric.process(data, trace_queries(model, data, self.part, self.match_on))
        for name, value in metric.evaluate(count).items():
            runner.message_hub.update_scalar(f'val/{name}', value)

"""Batches of one image against norms that need more."""
from mmengine.dataset import InfiniteSampler
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmpanseg.registry import HOOKS
from mmpanseg.utils.modules import BATCH_SIZE_ADVICE, single_value_norms, unwrap_model


@HOOKS.register_module()
class BatchSizeHook(Hook):
    """Looks before training whether a batch will have one image, where that cannot be learned from.

    kMaX-DeepLab's semantic head normalizes one value per channel and image.

    Raises:
        ValueError: it will; the text names the norm and what to do.
    """

    def before_train(self, runner: Runner) -> None:
        norms = single_value_norms(unwrap_model(runner.model))
        if not norms:
            return
        loader = runner.train_dataloader
        size = getattr(loader.batch_sampler, 'batch_size', None) or loader.batch_size
        why = (f'model.{norms[0]} is normalized over the images of a batch, one value of each, '
               'and cannot learn from a single image')
        if size == 1:
            raise ValueError(f'{why}, but train_dataloader.batch_size is 1: {BATCH_SIZE_ADVICE}')
        ends = not isinstance(loader.sampler, InfiniteSampler)
        if size and ends and not getattr(loader.batch_sampler, 'drop_last', loader.drop_last) and (
                len(loader.sampler) % size == 1):
            raise ValueError(
                f'{why}, but the last batch of an epoch has one ({len(loader.sampler)} images in '
                f'batches of {size}): set train_dataloader.drop_last=True')

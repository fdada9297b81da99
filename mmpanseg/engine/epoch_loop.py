"""Training by epochs that continues within an epoch."""
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from mmengine.runner import EpochBasedTrainLoop
from torch.utils.data import DataLoader, IterableDataset


class ResumableEpochLoop(EpochBasedTrainLoop):
    """mmengine's loop by epochs; the first epoch of a resumed run omits the steps that were done.

    PanopticRunner uses it for ``type='EpochBasedTrainLoop'``.

    Args:
        args: see mmengine's EpochBasedTrainLoop.
        kwargs: see mmengine's EpochBasedTrainLoop.
    """

    _epoch: int
    # steps of the current epoch that are done; 0 between epochs
    steps_in_epoch = 0

    def skip_trained(self, steps: int, epoch_length: int) -> None:
        """Omit the steps of the current epoch that a checkpoint includes.

        Args:
            steps: their number.
            epoch_length: steps of an epoch in the run of the checkpoint.
        """
        if epoch_length == len(self.dataloader) and 0 < steps <= epoch_length:
            self.steps_in_epoch = steps
            return
        self.runner.logger.warning(
            f'the checkpoint lies within an epoch of {epoch_length} steps, here an epoch has '
            f'{len(self.dataloader)}: epoch {self._epoch + 1} starts again')

    def run_epoch(self) -> None:
        """Train for one epoch, or for the rest of it."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done = self.steps_in_epoch
        batches = remaining_batches(self.dataloader, done) if done else self.dataloader
        for idx, data_batch in enumerate(batches, done):
            self.steps_in_epoch = idx + 1
            self.run_iter(idx, data_batch)
        self.steps_in_epoch = 0
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1


def remaining_batches(loader: DataLoader, done: int) -> Iterable:
    """Iterate over a data loader without its first batches, whose images are not read.

    Args:
        loader: data loader.
        done: number of batches to omit.
    """
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return islice(loader, done, None)
    return DataLoader(
        loader.dataset, batch_sampler=_Rest(loader.batch_sampler, done),
        num_workers=loader.num_workers, collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory, timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn, generator=loader.generator,
        multiprocessing_context=loader.multiprocessing_context,
        prefetch_factor=loader.prefetch_factor)


class _Rest:
    """The batches of a sampler after the first ones."""

    def __init__(self, sampler: Any, done: int) -> None:
        self._sampler = sampler
        self._done = done

    def __iter__(self) -> Iterator[list[int]]:
        return islice(iter(self._sampler), self._done, None)

    def __len__(self) -> int:
        return len(self._sampler) - self._done

"""mmengine's checkpoint hook with an order of writes and removals that never loses a checkpoint."""
import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process, master_only
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import HOOKS as ROOT_HOOKS
from mmengine.runner import CheckpointLoader, Runner

from mmpanseg.engine.checkpoint_files import AtomicBackend, atomic_backend, write_last_checkpoint
from mmpanseg.engine.disk_space import check_space
from mmpanseg.engine.main_process import decide_on_main
from mmpanseg.engine.training_loader import steps_in_epoch
from mmpanseg.registry import HOOKS
from mmpanseg.utils.atomic_files import remove_partial_files

# Entry of the message hub: the checkpoint that a signal caused outside the interval.
_EXTRA = 'extra_ckpt'


class _LateRemoval(AtomicBackend):
    """Storage backend that collects removals within a context, and removes at its end."""

    def __init__(self) -> None:
        self._waiting: list[str] | None = None

    @contextmanager
    def removals_last(self) -> Iterator[None]:
        """Remove files at the end of the outermost context; after an exception, none."""
        if self._waiting is not None:
            yield
            return
        self._waiting = []
        try:
            yield
            waiting, self._waiting = self._waiting, None
            for path in waiting:
                self.remove(path)
        finally:
            self._waiting = None

    def remove(self, filepath: str | Path) -> None:
        """Remove a file, within the context at its end."""
        if self._waiting is None:
            Path(filepath).unlink(missing_ok=True)
        else:
            self._waiting.append(str(filepath))


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """Saves checkpoints like mmengine's hook; at no moment is there no complete checkpoint.

    - A file is written beside, flushed to the disk and renamed, ``last_checkpoint`` too.
    - The oldest checkpoint and the former best one are removed after the new one and
      ``last_checkpoint`` are complete. mmengine's hook removes them first.
    - Before the first step partial files of killed runs are removed, and the free space of the
      disk is compared with the size of a checkpoint.

    PanopticRunner uses it for ``type='CheckpointHook'``. Remote storage and folders of DeepSpeed
    are written by mmengine's hook.

    Args:
        args: see mmengine's CheckpointHook.
        kwargs: see mmengine's CheckpointHook.
    """

    _local = False
    _saved = -1

    def before_train(self, runner: Runner) -> None:
        """Prepare the folder of the checkpoints."""
        super().before_train(runner)
        self._local = atomic_backend(
            self.out_dir, self.file_client_args, self.backend_args) is not None
        if not self._local:
            return
        self.file_backend = _LateRemoval()
        if is_main_process():
            Path(self.out_dir).mkdir(parents=True, exist_ok=True)
            for folder in {self.out_dir, runner.work_dir}:
                for name in remove_partial_files(folder):
                    runner.logger.info(f'removed {Path(folder) / name}, which an interrupted '
                                       'process left incomplete')
        warning = decide_on_main(lambda: check_space(runner, self))
        if warning:
            runner.logger.warning(warning)

    def save_now(self, runner: Runner, epoch: int, step: int) -> str:
        """Save a checkpoint outside the interval, because the training is interrupted.

        Args:
            runner: the runner.
            epoch: number of finished epochs.
            step: number of finished steps. Within an epoch, the checkpoint of a hook by epochs has
                the name ``iter_{step}.pth``, and the next one replaces it.

        Returns:
            Path of the checkpoint.
        """
        if self._saved == step and self.last_ckpt is not None:
            return str(self.last_ckpt)
        meta = dict(epoch=epoch, iter=step)
        if self.by_epoch and steps_in_epoch(runner.train_loop):
            path = self.file_backend.join_path(self.out_dir, f'iter_{step}.pth')
            former = runner.message_hub.runtime_info.get(_EXTRA)
            runner.message_hub.update_info(_EXTRA, path)
            self._save(runner, path, meta, [former] if former not in (None, path) else [])
        else:
            self._save_checkpoint_with_step(runner, epoch if self.by_epoch else step, meta)
        return str(self.last_ckpt)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        if not self._local:
            super()._save_checkpoint_with_step(runner, step, meta)
            return
        hub, outdated = runner.message_hub, []
        if self.max_keep_ckpts > 0 and list(self.keep_ckpt_ids)[-1:] != [step]:
            # A checkpoint lists the outdated ones as well: if this process is killed before it
            # removes them, before_train of the resumed one does so.
            ids = [*self.keep_ckpt_ids, step]
            hub.update_info('keep_ckpt_ids', ids)
            outdated = [self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(old))
                        for old in ids[:-self.max_keep_ckpts]]
            self.keep_ckpt_ids.append(step)
        path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))
        extra = hub.runtime_info.get(_EXTRA)
        self._save(runner, path, meta, [*outdated, *([extra] if extra else [])])
        hub.pop_info(_EXTRA, None)
        if self.max_keep_ckpts > 0:
            hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))

    def _save(self, runner: Runner, path: str, meta: dict, outdated: list[str]) -> None:
        """Save a checkpoint, then its name, then remove outdated ones."""
        self.last_ckpt = path
        runner.message_hub.update_info('last_ckpt', path)
        if self._local and is_main_process() and not Path(self.out_dir).is_dir():
            runner.logger.warning(f'the folder {self.out_dir} was removed during the training; '
                                  'it is created again, without its earlier files')
        runner.save_checkpoint(
            self.out_dir, Path(path).name, self.file_client_args,
            save_optimizer=self.save_optimizer, save_param_scheduler=self.save_param_scheduler,
            meta=meta, by_epoch=self.by_epoch, backend_args=self.backend_args, **self.args)
        self._saved = meta['iter']
        if not is_main_process():
            return
        write_last_checkpoint(runner.work_dir, path)
        for old in outdated:
            if old != path:
                self.file_backend.remove(old)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        if not self._local:
            super()._save_best_checkpoint(runner, metrics)
            return
        with self.file_backend.removals_last():
            super()._save_best_checkpoint(runner, metrics)

    @master_only
    def _publish_model(self, runner: Runner, ckpt_path: str) -> None:
        if not self._local:
            super()._publish_model(runner, ckpt_path)
            return
        content = CheckpointLoader.load_checkpoint(ckpt_path, map_location='cpu')
        kept = {key: value for key, value in content.items() if key in (self.published_keys or ())}
        buffer = io.BytesIO()
        torch.save(kept, buffer)
        digest = hashlib.sha256(buffer.getbuffer()).hexdigest()
        path = f'{Path(ckpt_path).with_suffix("")}-{digest[:8]}.pth'
        self.file_backend.put(buffer.getbuffer(), path)
        runner.logger.info(f'published {", ".join(kept)} of {ckpt_path} as {path}')


def as_safe_hook(hook: Hook | dict | None) -> Hook | dict | None:
    """Return a :class:`SafeCheckpointHook` in the place of mmengine's checkpoint hook.

    Args:
        hook: a hook or its config; others, also derived classes, are returned unchanged.
    """
    if isinstance(hook, dict) and 'type' in hook:
        kind = hook['type']
        if isinstance(kind, str):
            with ROOT_HOOKS.switch_scope_and_registry(None) as scoped:
                kind = scoped.get(kind)
        return dict(hook, type=SafeCheckpointHook) if kind is CheckpointHook else hook
    if type(hook) is not CheckpointHook:
        return hook
    safe = SafeCheckpointHook()
    safe.__dict__.update(hook.__dict__)
    return safe

"""Pictures of predictions, one per image."""
from collections.abc import Sequence
from pathlib import Path

import mmcv
import numpy as np
from mmdet.engine.hooks import DetVisualizationHook
from mmdet.structures import DetDataSample
from mmengine.fileio import get
from mmengine.runner import Runner

from mmpanseg.registry import HOOKS
from mmpanseg.structures.result_file_names import dataset_result_names, picture_name
from mmpanseg.structures.sample_image import read_sample_image
from mmpanseg.visualization.picture_files import write_picture


@HOOKS.register_module()
class PanopticVisualizationHook(DetVisualizationHook):
    """mmdet's hook with unique names of the pictures in ``test_out_dir``.

    mmdet names a picture by the last part of the image's path, so that images of the same name in
    two folders overwrite each other, and draws only in the first process. Here names are those of
    :func:`mmpanseg.structures.result_file_names.result_names` with the ending of the image, and
    each process draws its images. Arguments are mmdet's.
    """

    def before_test(self, runner: Runner) -> None:
        """Assign the names of the pictures."""
        if self.draw and self.test_out_dir is not None:
            self._names = dataset_result_names(runner.test_dataloader.dataset, keep_ending=True)
            self._folder = Path(runner.work_dir, runner.timestamp, self.test_out_dir)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict,
                        outputs: Sequence[DetDataSample]) -> None:
        """Draw every image of a batch."""
        if not self.draw:
            return
        for sample in outputs:
            self._test_index += 1
            image, out_file = self._read(sample), None
            if self.test_out_dir is not None:
                out_file = self._folder / picture_name(self._names[sample.img_path])
                picture = self._picture(image, sample)
                if picture is not None:
                    write_picture(out_file, picture)
                    if not self.show:
                        continue
            self._visualizer.add_datasample(
                Path(sample.img_path).name if self.show else 'test_img', image,
                data_sample=sample, show=self.show, wait_time=self.wait_time,
                pred_score_thr=self.score_thr, out_file=out_file and str(out_file),
                step=self._test_index)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: dict,
                       outputs: Sequence[DetDataSample]) -> None:
        """Draw the first image of a batch every ``interval`` iterations."""
        step, sample = runner.iter + batch_idx, outputs[0]
        if not self.draw or step % self.interval:
            return
        self._visualizer.add_datasample(
            Path(sample.img_path).name if self.show else 'val_img', self._read(sample),
            data_sample=sample, show=self.show, wait_time=self.wait_time,
            pred_score_thr=self.score_thr, step=step)

    def _read(self, sample: DetDataSample) -> np.ndarray:
        """Read the image of a sample, uint8 RGB [H, W, 3]."""
        if sample.get('drawn_channels') is not None:
            return read_sample_image(sample.metainfo, self.backend_args)
        return mmcv.imfrombytes(get(sample.img_path, backend_args=self.backend_args),
                                channel_order='rgb')

    def _picture(self, image: np.ndarray, sample: DetDataSample) -> np.ndarray | None:
        """Draw a picture, None if the visualizer only draws in the first process."""
        draw = getattr(self._visualizer, 'picture', None)
        return None if draw is None else draw(image, sample, pred_score_thr=self.score_thr)

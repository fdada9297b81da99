"""Test-time augmentation: one result from the predictions for several views of an image."""
from collections.abc import Sequence

import torch
from mmdet.structures import DetDataSample, SampleList
from mmengine.model import BaseTTAModel
from torch import nn

from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import DenseMaskLogits


@MODELS.register_module()
class PanopticTTAModel(BaseTTAModel):
    """Wraps a :class:`MaskTransformer` for test-time augmentation (flips, scales).

    Inputs are those of a pipeline with mmcv's ``TestTimeAug``. Semantic score maps of the views are
    averaged, as published; for panoptic and instance results queries are matched and averaged, see
    :func:`mmpanseg.models.inference.augmented_views.merge_views`. Results are stored in the data
    samples of the first view.

    Args:
        module: the model, or its config.
        data_preprocessor: config that replaces the one of the model (default: the model's own).

    Raises:
        ValueError: the model predicts in tiles.
    """

    def __init__(self, module: dict | nn.Module, data_preprocessor: dict | None = None) -> None:
        super().__init__(module, data_preprocessor)
        if self.module.tiling is not None:
            raise ValueError("test-time augmentation needs model.test_cfg.mode='whole', "
                             "the config has mode='tile'")
        # for hooks that compare the model with its data sets
        for name in ('num_things_classes', 'num_stuff_classes', 'num_classes'):
            setattr(self, name, getattr(self.module, name))

    @torch.no_grad()
    def test_step(self, data: dict) -> SampleList:
        """Predict images of several views.

        Args:
            data: ``inputs`` and ``data_samples``, per view a list with one entry per image.

        Returns:
            one data sample per image with its results.
        """
        views = [self._predict(dict(inputs=inputs, data_samples=samples))
                 for inputs, samples in zip(data['inputs'], data['data_samples'])]
        return self.merge_preds(list(zip(*views)))

    def merge_preds(self, data_samples_list: Sequence[Sequence[DetDataSample]]) -> SampleList:
        """Merge the ``view`` in each data sample of an image to the results of the image.

        Args:
            data_samples_list: per image one data sample for each view.

        Returns:
            the first data sample of each image, with its results.
        """
        merged = []
        for samples in data_samples_list:
            views = [sample.pop('view') for sample in samples]
            merged.append(self.module.panoptic_fusion_head.fuse(views, self.module.outputs))
        return self.module.add_pred_to_datasample(
            [samples[0] for samples in data_samples_list], merged)

    def _predict(self, data: dict) -> SampleList:
        """Predict one view of each image; samples get the predictions before fusion as ``view``."""
        module = self.module
        batch = module.data_preprocessor(data, False)
        samples = batch['data_samples']
        metainfos = [sample.metainfo for sample in samples]
        cls_logits, mask_logits = module.predict_queries(batch['inputs'], metainfos)
        # mask logits use less memory than the features that they are computed from
        queries = torch.arange(cls_logits.shape[1], device=cls_logits.device)
        dense = DenseMaskLogits([torch.stack(
            [mask_logits.dense(-1, image, queries) for image in range(len(samples))])])
        views = module.panoptic_fusion_head.views(
            cls_logits, dense, metainfos, unflip=True)
        for sample, view in zip(samples, views):
            sample.view = view
        return samples

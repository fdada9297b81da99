"""The one segmentor: backbone, panoptic head, panoptic fusion head."""
from collections.abc import Callable
from functools import partial
from logging import FileHandler

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.structures import OptSampleList, SampleList
from mmengine.logging import MMLogger
from torch import Tensor, nn

from mmpanseg.models.fusion_heads.base import FusionHead
from mmpanseg.models.heads.base import PanopticHead
from mmpanseg.models.inference.full_size_masks import MASK_ACTIVATIONS
from mmpanseg.models.inference.test_cfg import read_test_cfg
from mmpanseg.models.inference.tiled_prediction import predict_tiles
from mmpanseg.models.layers.precision import in_half, parameter_dtype, staying_exact
from mmpanseg.models.segmentors.checked_loading import (
    CheckedLoadingMixin,
    explained_pretrained_errors,
)
from mmpanseg.models.segmentors.feature_map_check import check_feature_maps
from mmpanseg.models.segmentors.input_channels import (
    adapt_checkpoint,
    adapt_pretrained,
    check_inputs,
    check_normalization,
)
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import MaskLogits
from mmpanseg.structures.mmdet_samples import segments_from_sample
from mmpanseg.structures.result_coding import check_class_count
from mmpanseg.utils.config_checks import (
    check_option_types,
    describe_unknown_keys,
    init_arguments,
)
from mmpanseg.utils.device import conv_memory_format
from mmpanseg.utils.modules import explain_norm_errors


@MODELS.register_module()
class MaskTransformer(CheckedLoadingMixin, BaseDetector):
    """Mask classification model for panoptic, instance and semantic segmentation.

    The numbers of classes are set here only, and passed to both heads; labels are contiguous, with
    things first. A model for semantic segmentation has no thing classes, one for instance
    segmentation no stuff classes.

    Args:
        num_things_classes: number of thing classes of the data set.
        num_stuff_classes: number of stuff classes of the data set.
        backbone: config of the backbone, which returns maps at strides 4, 8, 16, 32. Its
            ``in_channels``, by default 3, are those of the images.
        panoptic_head: config of the head (predictions and losses), a :class:`PanopticHead`.
        panoptic_fusion_head: config of the fusion head (predictions to segments), a
            :class:`FusionHead`.
        test_cfg: options of :class:`mmpanseg.models.inference.test_cfg.Outputs`; ``mode='tile'``
            (default: 'whole') predicts overlapping tiles of the images, with the options of
            :class:`mmpanseg.models.inference.tiled_prediction.Tiling`.
        data_preprocessor: config of the data preprocessor, see mmengine's ``BaseModel``.
        init_cfg: config of the initialization, see mmengine's ``BaseModule``.
        new_channels: how the first convolution adapts pretrained weights of another number of
            channels: 'repeat', 'average' or 'zero', see
            :func:`mmpanseg.models.segmentors.input_channels.adapt_first_convolution`. None: such
            weights are an error.
        unknown: rejected with a ``TypeError`` that lists the existing arguments.

    Raises:
        ValueError: a number of classes or queries or an entry of ``test_cfg`` is out of range; a
            panoptic result cannot encode as many classes; the channels of the backbone's maps
            differ from ``in_channels`` of the head; a head is of another library, or the fusion
            head does not apply the activations that the head requires.
        TypeError: a value has the wrong type, or an argument is unknown.
    """

    data_preprocessor: nn.Module

    def __init__(self, num_things_classes: int, num_stuff_classes: int, backbone: dict,
                 panoptic_head: dict,
                 panoptic_fusion_head: dict = dict(type='mmpanseg.PixelwiseFusionHead'),
                 test_cfg: dict | None = None, data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None, new_channels: str | None = None,
                 **unknown) -> None:
        text = describe_unknown_keys('model', unknown, init_arguments(MaskTransformer))
        if 'train_cfg' in unknown:
            text += ('; the entries of model.train_cfg in mmdet (points, assigner) are options of '
                     'panoptic_head.criterion here')
        if text:
            raise TypeError(text)
        channels = backbone.get('in_channels', 3) if isinstance(backbone, dict) else 3
        check_normalization(data_preprocessor, channels)
        if isinstance(data_preprocessor, dict):
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        # registries of other libraries build the model without checking the types of values
        check_option_types('model', MaskTransformer, dict(
            num_things_classes=num_things_classes, num_stuff_classes=num_stuff_classes,
            backbone=backbone, panoptic_head=panoptic_head, test_cfg=test_cfg,
            panoptic_fusion_head=panoptic_fusion_head, new_channels=new_channels))
        if num_things_classes < 0 or num_stuff_classes < 0 or not (
                num_things_classes + num_stuff_classes):
            raise ValueError(
                'model.num_things_classes and model.num_stuff_classes must be the numbers of '
                f'classes of the data set, got {num_things_classes} and {num_stuff_classes}')
        self.outputs, self.tiling = read_test_cfg(test_cfg or {})
        if self.outputs.instance_on and not num_things_classes:
            raise ValueError('model.test_cfg.instance_on=True needs classes that are things, but '
                             'model.num_things_classes is 0')
        if self.outputs.panoptic_on:
            check_class_count(num_things_classes + num_stuff_classes,
                              'the model (num_things_classes '
                          f'{num_things_classes}, num_stuff_classes {num_stuff_classes})')
        check_head_classes(panoptic_head, panoptic_fusion_head)
        classes = dict(num_things_classes=num_things_classes, num_stuff_classes=num_stuff_classes)
        self.num_things_classes = num_things_classes
        self.num_stuff_classes = num_stuff_classes
        self.num_classes = num_things_classes + num_stuff_classes
        self.backbone = MODELS.build(backbone)
        check_feature_maps(self.backbone, backbone, panoptic_head)
        self.new_channels = new_channels
        adapt_pretrained(self.backbone, new_channels)
        self.data_preprocessor.register_forward_pre_hook(partial(check_inputs, channels))
        self.panoptic_head = MODELS.build(panoptic_head, default_args=classes)
        if panoptic_head.get('num_queries', 1) < 1:
            raise ValueError(f'model.panoptic_head.num_queries={panoptic_head["num_queries"]} must '
                             'be at least 1; as many as an image has segments, or more')
        self.panoptic_fusion_head = MODELS.build(panoptic_fusion_head, default_args=classes)
        check_activations(self.panoptic_head, self.panoptic_fusion_head)

    def init_weights(self) -> None:
        """Initialize the weights, and load those of parts with pretrained weights.

        Raises:
            CheckpointError: pretrained weights cannot be read; the text names them and the fixes.
        """
        with explained_pretrained_errors(self):
            super().init_weights()

    def adapt_channels(self, weights: dict) -> None:
        """Adapt the weights of a checkpoint to the channels of the images, in place.

        Args:
            weights: tensors by name.

        Raises:
            ValueError: it was trained with another number of channels, and ``new_channels`` is
                None.
        """
        adapt_checkpoint(self.backbone, self.new_channels, weights)

    def _dump_init_info(self) -> None:
        """Write a line per parameter to log files; without any, mmengine would use the console."""
        if any(isinstance(handler, FileHandler)
               for handler in MMLogger.get_current_instance().handlers):
            super()._dump_init_info()

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Compute the feature maps of images, in decreasing order of resolution.

        Training and inference both call this method. It casts the images to the data type of the
        network, which differs from float32 after ``half()``, ``bfloat16()`` or ``double()``.

        Args:
            batch_inputs: normalized images [B, 3, H, W].
        """
        dtype = parameter_dtype(self.backbone, batch_inputs.dtype)
        images = batch_inputs.to(dtype).contiguous(
            memory_format=conv_memory_format(batch_inputs.device))
        with in_half(dtype, images.device):
            return self.backbone(images)

    def _apply(self, fn: Callable, *args, **kwargs) -> 'MaskTransformer':
        # mean and standard deviation apply to pixels, before the cast to the network's data type
        with staying_exact(self.data_preprocessor):
            return super()._apply(fn, *args, **kwargs)

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Compute the losses of a batch.

        Args:
            batch_inputs: normalized images [B, 3, H, W].
            batch_data_samples: samples with ``gt_segments``; for samples of mmdet's pipelines it
                is set here, from ``gt_instances`` and ``gt_sem_seg``.

        Returns:
            weighted losses, scalars by name.

        Raises:
            ValueError: a sample has no ground truth; the text names the image. Or a normalization
                layer receives a single value per channel.
        """
        for sample in batch_data_samples:
            if 'gt_segments' not in sample:
                sample.gt_segments = segments_from_sample(
                    sample, self.num_things_classes, self.num_classes).to(batch_inputs.device)
        with explain_norm_errors(batch_inputs):
            return self.panoptic_head.loss(self.extract_feat(batch_inputs), batch_data_samples)

    @torch.no_grad()
    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList,
                rescale: bool = True) -> SampleList:
        """Predict the segments of images, without gradients.

        Args:
            batch_inputs: normalized and padded images [B, 3, H, W].
            batch_data_samples: samples with the meta information of the images.
            rescale: whether results have the size of the original images, else that of the network
                input without padding.

        Returns:
            the samples with those of ``pred_panoptic_seg``, ``pred_instances`` and
            ``pred_sem_seg`` that ``test_cfg`` enables.
        """
        metainfos = [sample.metainfo for sample in batch_data_samples]
        if self.tiling is None:
            results = self._predict_whole(batch_inputs, metainfos, rescale)
        else:
            results = [predict_tiles(
                self._predict_padded, image, metainfo, self.tiling, self.outputs,
                self.num_things_classes, self.num_classes, rescale)
                for image, metainfo in zip(batch_inputs, metainfos)]
        return self.add_pred_to_datasample(batch_data_samples, results)

    def pad(self, images: Tensor) -> Tensor:
        """Pad normalized images [B, C, h, w] as the data preprocessor does, to [B, C, H, W].

        All code that pads outside the data preprocessor calls this method. The padding is read
        from the output of the preprocessor for an empty image, so that any class works.

        Args:
            images: normalized images [B, C, h, w].
        """
        height, width = images.shape[-2:]
        data = self.data_preprocessor(
            dict(inputs=[images.new_zeros(1).expand(images.shape[1:])]), False)
        padded = data['inputs'][0].to(images.dtype).repeat(len(images), 1, 1, 1)
        padded[..., :height, :width] = images
        return padded

    def _predict_padded(self, image: Tensor, metainfo: dict, rescale: bool) -> dict:
        """Predict an image or a tile of one, normalized but not padded, [1, C, h, w]."""
        image = self.pad(image)
        metainfo = dict(metainfo, batch_input_shape=tuple(image.shape[-2:]))
        return self._predict_whole(image, [metainfo], rescale)[0]

    def _predict_whole(self, inputs: Tensor, metainfos: list[dict],
                       rescale: bool = True) -> list[dict]:
        """Predict images [B, 3, H, W] without tiles."""
        return self.panoptic_fusion_head.predict(
            *self.predict_queries(inputs, metainfos), metainfos, rescale, self.outputs)

    def predict_queries(self, batch_inputs: Tensor,
                        metainfos: list[dict]) -> tuple[Tensor, MaskLogits]:
        """Predict classes and masks of all queries, before fusion and without gradients.

        Args:
            batch_inputs: normalized and padded images [B, 3, H, W].
            metainfos: meta information of the images, see :meth:`PanopticHead.predict`.

        Returns:
            class logits and mask logits.
        """
        with torch.no_grad():
            return self.panoptic_head.predict(self.extract_feat(batch_inputs), metainfos)

    def add_pred_to_datasample(self, data_samples: SampleList,
                               results_list: list[dict]) -> SampleList:
        """Set the results of each image on its sample.

        Args:
            data_samples: one sample per image.
            results_list: results by name, ``pred_*``, one dict per image.
        """
        for sample, results in zip(data_samples, results_list):
            for name, value in results.items():
                setattr(sample, name, value)
        return data_samples

    def _forward(self, batch_inputs: Tensor,
                 batch_data_samples: OptSampleList = None) -> tuple:
        """Compute the raw predictions of the head, for ``mode='tensor'``."""
        metainfos = None if batch_data_samples is None else [
            sample.metainfo for sample in batch_data_samples]
        return self.panoptic_head(self.extract_feat(batch_inputs), metainfos)


def check_head_classes(panoptic_head: dict, panoptic_fusion_head: dict) -> None:
    """Check that the configs of both heads name heads of this library or subclasses.

    Names such as ``MaskFormerFusionHead`` without the prefix ``mmpanseg.`` are those of mmdet.

    Args:
        panoptic_head: config of the head.
        panoptic_fusion_head: config of the fusion head.

    Raises:
        ValueError: a class does not derive from :class:`PanopticHead` or :class:`FusionHead`.
    """
    head_class = _named_class(panoptic_head)
    if head_class is not None and not issubclass(head_class, PanopticHead):
        raise ValueError(
            f'model.panoptic_head.type {head_class.__name__} is not a mmpanseg PanopticHead, which '
            "mmpanseg.MaskTransformer requires: use one of this library, e.g. "
            "'mmpanseg.Mask2FormerHead', or for a head of mmdet its own model, type='Mask2Former'")
    head_class = _named_class(panoptic_fusion_head)
    if head_class is not None and not issubclass(head_class, FusionHead):
        raise ValueError(
            f'model.panoptic_fusion_head.type {head_class.__name__} is not a mmpanseg FusionHead, '
            'which mmpanseg.MaskTransformer requires: use e.g. \'mmpanseg.PixelwiseFusionHead\', '
            "which computes the same as mmdet's MaskFormerFusionHead")


def check_activations(head: PanopticHead, fusion_head: FusionHead) -> None:
    """Check that a fusion head applies the activations that a head requires.

    Args:
        head: the head.
        fusion_head: the fusion head that reads its predictions.

    Raises:
        ValueError: an activation differs; the text names the option and its value.
    """
    name = type(head).__name__
    if fusion_head.score_activation != head.score_activation:
        raise ValueError(
            f'model.panoptic_fusion_head.score_activation={fusion_head.score_activation!r} does '
            f'not fit the class logits of {name}: set it to {head.score_activation!r}')
    unchanged = fusion_head.mask_activation is MASK_ACTIVATIONS['none']
    if unchanged != (head.mask_activation == 'none'):
        raise ValueError(
            f'model.panoptic_fusion_head.mask_activation does not fit the masks of {name}: set it '
            f'to {head.mask_activation!r}')


def _named_class(config: dict) -> type | None:
    """Class that a config names; None for an unknown name, an error when it is built."""
    kind = config.get('type')
    if isinstance(kind, str):
        with MODELS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    return kind if isinstance(kind, type) else None

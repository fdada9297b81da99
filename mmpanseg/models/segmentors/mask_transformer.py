"""The one segmentor: backbone, panoptic head, panoptic fusion head."""
from collections.abc import Callable
from dataclasses import fields
from logging import FileHandler

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.detectors import BaseDetector
from mmdet.structures import OptSampleList, SampleList
from mmengine.logging import MMLogger
from torch import Tensor

from mmpanseg.models.fusion_heads.base import FusionHead
from mmpanseg.models.inference.test_cfg import Outputs
from mmpanseg.models.inference.tiled_prediction import Tiling, predict_tiles
from mmpanseg.models.layers.precision import in_half, parameter_dtype, staying_exact
from mmpanseg.models.segmentors.checked_loading import Deployment, naming_pretrained
from mmpanseg.models.segmentors.feature_map_check import check_feature_maps
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import MaskLogits
from mmpanseg.structures.mmdet_samples import segments_from_sample
from mmpanseg.structures.result_coding import check_class_count
from mmpanseg.utils.config_checks import (
    check_option_types,
    describe_unknown_keys,
    init_arguments,
    resolve_option,
)
from mmpanseg.utils.device import conv_memory_format
from mmpanseg.utils.modules import explain_norm_errors

TEST_MODES = ('whole', 'tile')


@MODELS.register_module()
class MaskTransformer(Deployment, BaseDetector):
    """Mask classification model for panoptic, instance and semantic segmentation.

    The numbers of classes are given here and nowhere else; labels are contiguous, things first. A
    model for semantic segmentation only has no things, one for instance segmentation no stuff.

    Args:
        num_things_classes, num_stuff_classes: classes of the data set.
        backbone: config; gives maps at strides 4, 8, 16, 32. Its ``in_channels`` are those of the
            images, 3 unless given.
        panoptic_head: config of the head (predictions and losses).
        panoptic_fusion_head: config of the fusion head (predictions to segments).
        test_cfg: options of :class:`mmpanseg.models.fusion_heads.Outputs`; ``mode='tile'`` cuts
            images into overlapping tiles (default: 'whole'), with the options of
            :class:`mmpanseg.models.inference.tiled_prediction.Tiling`.
        data_preprocessor, init_cfg: see mmengine.

    Raises:
        ValueError: a number of classes or queries or an entry of ``test_cfg`` is not possible, more
            classes than a panoptic result can tell apart where one is asked for, or the backbone's
            maps are not those that the head's ``in_channels`` name; or a head is one of another
            library.
        TypeError: a value is of the wrong kind, or an argument unknown; the text names those that
            exist.
    """

    def __init__(self, num_things_classes: int, num_stuff_classes: int, backbone: dict,
                 panoptic_head: dict,
                 panoptic_fusion_head: dict = dict(type='mmpanseg.PixelwiseFusionHead'),
                 test_cfg: dict | None = None, data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None, **unknown) -> None:
        text = describe_unknown_keys('model', unknown, init_arguments(MaskTransformer))
        if 'train_cfg' in unknown:
            text += ('; what mmdet has in model.train_cfg (points, assigner) are settings of '
                     'panoptic_head.criterion here')
        if text:
            raise TypeError(text)
        if isinstance(data_preprocessor, dict):
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        # built by another library's registry, which does not look
        check_option_types('model', MaskTransformer, dict(
            num_things_classes=num_things_classes, num_stuff_classes=num_stuff_classes,
            backbone=backbone, panoptic_head=panoptic_head, test_cfg=test_cfg,
            panoptic_fusion_head=panoptic_fusion_head))
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
        check_kinds(panoptic_head, panoptic_fusion_head)
        classes = dict(num_things_classes=num_things_classes, num_stuff_classes=num_stuff_classes)
        self.num_things_classes = num_things_classes
        self.num_stuff_classes = num_stuff_classes
        self.num_classes = num_things_classes + num_stuff_classes
        self.backbone = MODELS.build(backbone)
        check_feature_maps(self.backbone, backbone, panoptic_head)
        self.panoptic_head = MODELS.build(panoptic_head, default_args=classes)
        if panoptic_head.get('num_queries', 1) < 1:
            raise ValueError(f'model.panoptic_head.num_queries={panoptic_head["num_queries"]} must '
                             'be at least 1; as many as an image has segments, or more')
        self.panoptic_fusion_head = MODELS.build(panoptic_fusion_head, default_args=classes)

    def init_weights(self) -> None:
        """Initialize; parts with pretrained weights fetch them.

        Raises:
            CheckpointError: they cannot be read; the text names them and ways out.
        """
        with naming_pretrained(self):
            super().init_weights()

    def _dump_init_info(self) -> None:
        """Of each parameter, into log files; mmengine fills the console where there are none."""
        if any(isinstance(handler, FileHandler)
               for handler in MMLogger.get_current_instance().handlers):
            super()._dump_init_info()

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Backbone maps of images [B, 3, H, W], high resolution first.

        All ways into the network lead through here: images take the network's own type, which is
        another than float32 after ``half()``, ``bfloat16()`` or ``double()``.
        """
        dtype = parameter_dtype(self.backbone, batch_inputs.dtype)
        images = batch_inputs.to(dtype).contiguous(
            memory_format=conv_memory_format(batch_inputs.device))
        with in_half(dtype, images.device):
            return self.backbone(images)

    def _apply(self, fn: Callable, *args, **kwargs) -> 'MaskTransformer':
        # mean and deviation belong to the pixels, which are not in the network's type yet
        with staying_exact(self.data_preprocessor):
            return super()._apply(fn, *args, **kwargs)

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Losses by name.

        Samples have ``gt_segments``; those of mmdet's pipelines get theirs here, from
        ``gt_instances`` and ``gt_sem_seg``.

        Raises:
            ValueError: when a sample carries no ground truth; the text names the image. Or a norm
                has a single value per channel to learn from.
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
        """Segments of images [B, 3, H, W], added to the data samples.

        Args:
            rescale: results at the original image size, else at the network's input size.

        Returns:
            the samples with those of ``pred_panoptic_seg``, ``pred_instances`` and
            ``pred_sem_seg`` that ``test_cfg`` switches on.
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
        """Normalized images [B, C, h, w], padded as the data preprocessor pads: [B, C, H, W].

        This is the one place that says how an input is padded. What a preprocessor adds to an
        image of that size is seen from what it does, so any preprocessor will do.
        """
        height, width = images.shape[-2:]
        data = self.data_preprocessor(
            dict(inputs=[images.new_zeros(1).expand(images.shape[1:])]), False)
        padded = data['inputs'][0].to(images.dtype).repeat(len(images), 1, 1, 1)
        padded[..., :height, :width] = images
        return padded

    def _predict_padded(self, image: Tensor, metainfo: dict, rescale: bool) -> dict:
        """Results of an image or a part of one, normalized but not padded, [1, C, h, w]."""
        image = self.pad(image)
        metainfo = dict(metainfo, batch_input_shape=tuple(image.shape[-2:]))
        return self._predict_whole(image, [metainfo], rescale)[0]

    def _predict_whole(self, inputs: Tensor, metainfos: list[dict],
                       rescale: bool = True) -> list[dict]:
        """Results of images [B, 3, H, W] that go through the network in one piece."""
        return self.panoptic_fusion_head.predict(
            *self.predict_queries(inputs, metainfos), metainfos, rescale, self.outputs)

    def predict_queries(self, batch_inputs: Tensor,
                        metainfos: list[dict]) -> tuple[Tensor, MaskLogits]:
        """Class logits and mask logits of images [B, 3, H, W], before any fusion.

        Heads that tell padding from image (``reads_padding``) get the metainfos too. There are no
        gradients.
        """
        with torch.no_grad():
            features = self.extract_feat(batch_inputs)
            if getattr(self.panoptic_head, 'reads_padding', False):
                return self.panoptic_head.predict(features, metainfos)
            return self.panoptic_head.predict(features)

    def add_pred_to_datasample(self, data_samples: SampleList,
                               results_list: list[dict]) -> SampleList:
        """Set each image's results, ``pred_*`` by name, on its sample."""
        for sample, results in zip(data_samples, results_list):
            for name, value in results.items():
                setattr(sample, name, value)
        return data_samples

    def _forward(self, batch_inputs: Tensor,
                 batch_data_samples: OptSampleList = None) -> tuple:
        """Raw predictions of the head, without losses or post-processing."""
        return self.panoptic_head(self.extract_feat(batch_inputs))


def check_kinds(panoptic_head: dict, panoptic_fusion_head: dict) -> None:
    """Compare the kinds of the two heads with what this model calls.

    Raises:
        ValueError: for a head of mmdet or another fusion head than this library's; names such as
            ``MaskFormerFusionHead`` are mmdet's unless ``mmpanseg.`` stands before them.
    """
    kind = _class_of(panoptic_head)
    if kind is not None and issubclass(kind, BaseDenseHead):
        raise ValueError(
            f'model.panoptic_head.type {kind.__name__} is a head of mmdet, which '
            'mmpanseg.MaskTransformer cannot use: name one of this library, e.g. '
            "'mmpanseg.Mask2FormerHead', or use mmdet's own model, type='Mask2Former'")
    kind = _class_of(panoptic_fusion_head)
    if kind is not None and not issubclass(kind, FusionHead):
        raise ValueError(
            f'model.panoptic_fusion_head.type {kind.__name__} is no mmpanseg FusionHead, and '
            'mmpanseg.MaskTransformer cannot use another one: name e.g. '
            "'mmpanseg.PixelwiseFusionHead', which does what mmdet's MaskFormerFusionHead does")


def _class_of(config: dict) -> type | None:
    """The class that a config names; None if there is none, which building it tells."""
    kind = config.get('type')
    if isinstance(kind, str):
        with MODELS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    return kind if isinstance(kind, type) else None


def read_test_cfg(test_cfg: dict) -> tuple[Outputs, Tiling | None]:
    """Options of the outputs, and of tiles unless images are predicted whole.

    Raises:
        ValueError: for an unknown key or a value that is not possible; the text names it.
    """
    mode = test_cfg.get('mode', 'whole')
    resolve_option('model.test_cfg.mode', mode, dict.fromkeys(TEST_MODES))
    kinds = {kind: {field.name for field in fields(kind)} for kind in (Outputs, Tiling)}
    known = {'mode'}.union(*kinds.values())
    text = describe_unknown_keys('model.test_cfg', test_cfg, known)
    if text:
        raise ValueError(text)
    outputs, tiling = (kind(**{key: test_cfg[key] for key in names if key in test_cfg})
                       for kind, names in kinds.items())
    tiles = sorted(kinds[Tiling].intersection(test_cfg))
    if tiles and 'mode' not in test_cfg:
        raise ValueError(f"model.test_cfg.{tiles[0]} is for tiles: set model.test_cfg.mode='tile' "
                         "(or 'whole', to keep it without effect)")
    return outputs, tiling if mode == 'tile' else None

"""Deformable DETR with DETR's mask head, the baselines of Panoptic SegFormer (appendix A.2)."""
from collections.abc import Sequence

from torch import Tensor

from mmpanseg.models.heads.panoptic_segformer import PanopticSegFormerHead
from mmpanseg.models.layers.precision import parameter_dtype, without_autocast
from mmpanseg.models.pixel_decoders.deformable_tokens import Tokens
from mmpanseg.models.transformer_decoders.detr_mask_decoder import FeatureTokens
from mmpanseg.models.transformer_decoders.location_decoder import LocationOutputs
from mmpanseg.registry import MODELS


@MODELS.register_module()
class DETRPanopticHead(PanopticSegFormerHead):
    """Location queries for all classes, with masks from attention maps at stride 32 only.

    D-DETR-MS: ``encoder_maps=3``, three maps and an additional level of stride 64; D-DETR-SS:
    ``encoder_maps=1``, the map of stride 32 alone.

    Args:
        in_channels: channels of the backbone's feature maps at strides 4, 8, 16, 32.
        encoder_maps: number of these maps, from the coarsest, that the encoder reads.
        mask_decoder: config of :class:`DETRMaskDecoder`.
        stuff_mask_decoder: None, the only possible value.
        kwargs: other arguments of :class:`PanopticSegFormerHead`.

    Raises:
        ValueError: ``encoder_maps`` is out of range, or ``stuff_mask_decoder`` is not None.
    """

    def __init__(self, in_channels: Sequence[int], encoder_maps: int = 3,
                 mask_decoder: dict = dict(type='mmpanseg.DETRMaskDecoder'),
                 stuff_mask_decoder: None = None, **kwargs) -> None:
        if not 1 <= encoder_maps <= len(in_channels):
            raise ValueError(f'panoptic_head.encoder_maps={encoder_maps} must be in 1..'
                             f'{len(in_channels)}, the number of feature maps of the backbone')
        if stuff_mask_decoder is not None:
            raise ValueError('DETRPanopticHead predicts all classes with one set of queries: set '
                             'panoptic_head.stuff_mask_decoder=None')
        super().__init__(
            in_channels[-encoder_maps:], mask_levels=encoder_maps, stuff_mask_decoder=None,
            mask_decoder=dict(mask_decoder, feature_channels=list(in_channels[-2::-1])), **kwargs)
        self.encoder_maps = encoder_maps

    def locate(self, features: Sequence[Tensor],
               metainfos: Sequence[dict] | None = None) -> tuple[Tokens, LocationOutputs]:
        tokens, outputs = super().locate(features[-self.encoder_maps:], metainfos)
        dtype = parameter_dtype(self.pixel_decoder)
        with without_autocast(features[0].device):
            features = [x.to(dtype) for x in features]
            projected = self.pixel_decoder.neck.convs[self.encoder_maps - 1](features[-1])
        return FeatureTokens(
            **vars(tokens), features=tuple(features[-2::-1]), projected=projected), outputs

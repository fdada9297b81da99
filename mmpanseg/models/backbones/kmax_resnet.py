"""ResNet as kMaX-DeepLab uses it: two architectures with the same parameters.

Shapes: B images, C channels, H x W image or map.
"""
import torch.nn.functional as F
from mmdet.models.backbones.resnet import Bottleneck, ResNet
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmpanseg.registry import MODELS


@MODELS.register_module()
class KMaXResNet(ResNet):
    """mmdet's ResNet that can also return the map of the stem.

    This is the architecture of kMaX-DeepLab's PyTorch version: outputs after the ReLU, and the
    stem's map after max pooling, at stride 4.

    Args:
        args, kwargs: those of mmdet's ``ResNet``.
        with_stem: whether to return the stem's map before those of the stages.
    """

    def __init__(self, *args, with_stem: bool = False, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.with_stem = with_stem

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute feature maps.

        Args:
            x: images [B, 3, H, W].

        Returns:
            maps, high resolution first, with ``with_stem`` that of the stem before the stages'.
        """
        x = self.stem_map(x)
        maps = [x] if self.with_stem else []
        for index, name in enumerate(self.res_layers):
            x = getattr(self, name)(x)
            if index in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def stem_map(self, x: Tensor) -> Tensor:
        """Compute the input of the first stage from images [B, 3, H, W]."""
        return self.maxpool(self.relu(self.norm1(self.conv1(x))))


class PreActivatedBottleneck(Bottleneck):
    """Bottleneck with a ReLU on its input and none on its output.

    Args:
        args, kwargs: those of mmdet's ``Bottleneck``.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.with_cp and x.requires_grad:
            return checkpoint(self._sum, x, use_reentrant=False)
        return self._sum(x)

    def _sum(self, x: Tensor) -> Tensor:
        # not in place: the input can be an output of the network too
        x = F.relu(x)
        y = self.relu(self.norm1(self.conv1(x)))
        y = self.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        return y + (x if self.downsample is None else self.downsample(x))


@MODELS.register_module()
class PreActivatedResNet(KMaXResNet):
    """ResNet of kMaX-DeepLab's TensorFlow version, for its checkpoints.

    The first stage of stride 2 replaces max pooling. Outputs are not activated; the stem's map, not
    activated either, is at stride 2.

    Args:
        args, kwargs: those of :class:`KMaXResNet`.
        strides: stride of each stage.
    """

    arch_settings = {50: (PreActivatedBottleneck, (3, 4, 6, 3)),
                     101: (PreActivatedBottleneck, (3, 4, 23, 3))}

    def __init__(self, *args, strides: tuple[int, ...] = (2, 2, 2, 2), **kwargs) -> None:
        super().__init__(*args, strides=strides, **kwargs)

    def stem_map(self, x: Tensor) -> Tensor:
        """Compute the input of the first stage from images [B, 3, H, W]."""
        return self.norm1(self.conv1(x))

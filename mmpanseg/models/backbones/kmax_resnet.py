"""ResNet as kMaX-DeepLab uses it: both wirings of the same parameters."""
import torch.nn.functional as F
from mmdet.models.backbones.resnet import Bottleneck, ResNet
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmpanseg.registry import MODELS


@MODELS.register_module()
class KMaXResNet(ResNet):
    """mmdet's ResNet that can also give the map behind the stem.

    This is the wiring of kMaX-DeepLab's PyTorch version: outputs behind the ReLU, and the stem's
    map behind the max pooling, at stride 4.

    Args:
        with_stem: put the stem's map in front of the stages' maps.
        kwargs: see mmdet's ``ResNet``.
    """

    def __init__(self, *args, with_stem: bool = False, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.with_stem = with_stem

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images [B, 3, H, W] -> maps, high resolution first; the stem's, if any, leads."""
        x = self.stem_map(x)
        maps = [x] if self.with_stem else []
        for index, name in enumerate(self.res_layers):
            x = getattr(self, name)(x)
            if index in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def stem_map(self, x: Tensor) -> Tensor:
        """What the first stage reads."""
        return self.maxpool(self.relu(self.norm1(self.conv1(x))))


class PreActivatedBottleneck(Bottleneck):
    """Bottleneck with a ReLU on its input and none on its sum."""

    def forward(self, x: Tensor) -> Tensor:
        if self.with_cp and x.requires_grad:
            return checkpoint(self._sum, x, use_reentrant=False)
        return self._sum(x)

    def _sum(self, x: Tensor) -> Tensor:
        # not in place: the input is also an output of the network
        x = F.relu(x)
        y = self.relu(self.norm1(self.conv1(x)))
        y = self.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        return y + (x if self.downsample is None else self.downsample(x))


@MODELS.register_module()
class PreActivatedResNet(KMaXResNet):
    """ResNet wired as in kMaX-DeepLab's TensorFlow original, with the same parameters.

    No max pooling, the first stage has stride 2, and outputs are the sums before the ReLU; the
    stem's map is at stride 2, before the ReLU as well. For checkpoints of the original.
    """

    arch_settings = {50: (PreActivatedBottleneck, (3, 4, 6, 3)),
                     101: (PreActivatedBottleneck, (3, 4, 23, 3))}

    def __init__(self, *args, strides: tuple[int, ...] = (2, 2, 2, 2), **kwargs) -> None:
        super().__init__(*args, strides=strides, **kwargs)

    def stem_map(self, x: Tensor) -> Tensor:
        """What the first stage reads."""
        return self.norm1(self.conv1(x))

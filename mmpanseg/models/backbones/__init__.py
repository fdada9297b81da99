from .convnext import ConvNeXt
from .kmax_resnet import KMaXResNet, PreActivatedResNet
from .max_s import MaXS
from .pvt import PVTv2

__all__ = ['ConvNeXt', 'KMaXResNet', 'MaXS', 'PVTv2', 'PreActivatedResNet']

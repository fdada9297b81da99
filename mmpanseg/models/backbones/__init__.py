from mmpanseg.models.backbones.convnext import ConvNeXt
from mmpanseg.models.backbones.kmax_resnet import KMaXResNet, PreActivatedResNet
from mmpanseg.models.backbones.max_s import MaXS
from mmpanseg.models.backbones.pvt import PVTv2

__all__ = ['ConvNeXt', 'KMaXResNet', 'MaXS', 'PVTv2', 'PreActivatedResNet']

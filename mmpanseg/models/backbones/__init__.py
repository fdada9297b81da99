from .convnext import ConvNeXt
from .kmax_resnet import KMaXResNet, PreActivatedResNet

__all__ = ['ConvNeXt', 'KMaXResNet', 'PreActivatedResNet']

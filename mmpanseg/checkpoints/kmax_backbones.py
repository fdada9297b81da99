"""Key maps of kMaX-DeepLab's published backbones to this library's names."""
from mmpanseg.checkpoints.key_map import Rule
from mmpanseg.checkpoints.resnet import resnet_rules

_BLOCK = r'(backbone\.stages\.\d+\.\d+\.)'


def convnext_rules() -> list[Rule]:
    """Rules for the official ConvNeXt behind the prefix ``backbone.``."""
    return [
        (_BLOCK + r'dwconv\.(.+)', r'\1depthwise_conv.\2', None),
        (_BLOCK + r'pwconv(\d)\.(.+)', r'\1pointwise_conv\2.\3', None),
        (_BLOCK + r'(gamma|norm\..+)', r'\1\2', None),
        (r'(backbone\.downsample_layers\..+)', r'\1', None)]


def backbone_rules() -> list[Rule]:
    """Rules for all published backbones, behind the prefix ``backbone.``."""
    return [*resnet_rules(), *convnext_rules()]

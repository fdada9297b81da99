"""Key maps of kMaX-DeepLab's published backbones to this library's names."""
from mmpanseg.checkpoints.key_map import Rule
from mmpanseg.checkpoints.kmax_blocks import block_rules, part_rules
from mmpanseg.checkpoints.resnet import resnet_rules

_BLOCK = r'(backbone\.stages\.\d+\.\d+\.)'


def convnext_rules() -> list[Rule]:
    """Rules for the official ConvNeXt behind the prefix ``backbone.``."""
    return [
        (_BLOCK + r'dwconv\.(.+)', r'\1depthwise_conv.\2', None),
        (_BLOCK + r'pwconv(\d)\.(.+)', r'\1pointwise_conv\2.\3', None),
        (_BLOCK + r'(gamma|norm\..+)', r'\1\2', None),
        (r'(backbone\.downsample_layers\..+)', r'\1', None)]


def max_s_rules() -> list[Rule]:
    """Rules for MaX-S behind the prefix ``backbone.``, named in the style of the pixel decoder."""
    rules = part_rules(r'backbone\.stem\.', 'backbone.stem.', {
        '_conv1_bn_act': '0', '_conv2_bn_act': '1', '_conv3_bn': '2'})
    for stage in range(4):
        rules += block_rules(rf'backbone\.stage{stage + 2}\.(\d+)\.',
                             rf'backbone.stages.{stage}.\1.')
    return rules


def backbone_rules() -> list[Rule]:
    """Rules for all backbones, behind the prefix ``backbone.``."""
    return [*resnet_rules(), *convnext_rules(), *max_s_rules()]

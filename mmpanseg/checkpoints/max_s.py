"""Key map of the MaX-S backbone, named like kMaX-DeepLab's pixel decoder, to ours."""
from mmpanseg.checkpoints.key_map import Rule
from mmpanseg.checkpoints.kmax_deeplab import block_rules


def max_s_rules() -> list[Rule]:
    """Rules for stem, stage2 .. stage5 behind the prefix ``backbone.``."""
    rules: list[Rule] = [
        (rf'backbone\.stem\.{name}\.(.+)', rf'backbone.stem.{number}.\1', None)
        for number, name in enumerate(('_conv1_bn_act', '_conv2_bn_act', '_conv3_bn'))]
    for stage in range(2, 6):
        rules += block_rules(rf'backbone\.stage{stage}\.(\d+)\.',
                             rf'backbone.stages.{stage - 2}.\1.')
    return rules

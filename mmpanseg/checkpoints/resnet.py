"""Key map of detectron2's ResNet to mmdet's."""
from mmpanseg.checkpoints.key_map import Rule


def resnet_rules() -> list[Rule]:
    """Rules for the backbone behind the prefix ``backbone.``."""
    # detectron2 counts stages from res2, ours from layer1
    rules: list[Rule] = [
        (r'backbone\.stem\.conv1\.weight', 'backbone.conv1.weight', None),
        (r'backbone\.stem\.conv1\.norm\.(.+)', r'backbone.bn1.\1', None)]
    for stage in range(2, 6):
        theirs, ours = rf'backbone\.res{stage}\.(\d+)\.', rf'backbone.layer{stage - 1}.\1.'
        rules += [
            (theirs + r'conv(\d)\.weight', ours + r'conv\2.weight', None),
            (theirs + r'conv(\d)\.norm\.(.+)', ours + r'bn\2.\3', None),
            (theirs + r'shortcut\.weight', ours + 'downsample.0.weight', None),
            (theirs + r'shortcut\.norm\.(.+)', ours + r'downsample.1.\2', None)]
    return rules

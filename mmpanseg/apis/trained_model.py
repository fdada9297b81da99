"""What tools that look into a trained model have in common."""
from argparse import ArgumentParser, Namespace

from mmdet.apis import init_detector
from mmengine.config import DictAction
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmpanseg.datasets.concatenated import common_metainfo
from mmpanseg.engine import UsageError, check_checkpoint, load_config


def add_model_options(parser: ArgumentParser) -> None:
    """Add the config, the checkpoint, and overrides of the config."""
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override config entries')


def load_trained(args: Namespace) -> tuple[nn.Module, DataLoader]:
    """The model that the arguments name, in evaluation mode, and its test data.

    Raises:
        UsageError: the config or the checkpoint is missing, or is of another model or of other
            classes.
    """
    cfg = load_config(args.config, args.cfg_options)
    checkpoint = check_checkpoint(args.checkpoint)
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    try:
        model = init_detector(cfg, checkpoint, device=get_device())
    except ValueError as error:
        raise UsageError(f'{checkpoint}: {error}') from error
    loader = Runner.build_dataloader(cfg.test_dataloader)
    model.dataset_meta = common_metainfo(loader.dataset.metainfo)
    return model, loader

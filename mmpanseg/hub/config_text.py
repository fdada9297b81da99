"""The text of a new config."""
from __future__ import annotations

import textwrap
from collections.abc import Iterable

from mmpanseg.hub.channel_facts import ChannelFacts
from mmpanseg.hub.config_files import find_configs
from mmpanseg.hub.model_choice import ModelChoice
from mmpanseg.hub.own_data import OwnData, SplitPaths
from mmpanseg.hub.training_plan import Plan

_WIDTH = 100
_DATASETS = {'panoptic': 'mmpanseg.PanopticDataset', 'instance': 'mmpanseg.InstanceDataset',
             'semantic': 'mmpanseg.SemanticDataset'}
_LOADERS = {'panoptic': 'mmpanseg.LoadPanopticMap', 'instance': 'mmpanseg.LoadInstanceMasks',
            'semantic': 'mmpanseg.LoadSemanticMap'}
_SCORES = {'panoptic': ('panoptic/PQ', 'panoptic quality'), 'instance': ('instance/AP', 'mask AP'),
           'semantic': ('semantic/mIoU', 'mIoU')}


def config_text(data: OwnData, choice: ModelChoice, plan: Plan, name: str) -> str:
    """Write a config as text.

    Args:
        data: the data.
        choice: the model.
        plan: sizes, batch and schedule.
        name: path of the config, for the command in its first lines.
    """
    parts = (_head(data, choice, name), _model(data, choice, plan), _start(choice, plan),
             _pipelines(data, choice, plan), _loaders(data, choice, plan), _schedule(data, plan))
    return '\n\n'.join(part.strip('\n') for part in parts) + '\n'


def _head(data: OwnData, choice: ModelChoice, name: str) -> str:
    kinds = ('' if data.task == 'semantic' or not data.stuff else
             f' ({len(data.things)} things, {len(data.stuff)} stuff)')
    base = choice.base.config.relative_to(find_configs()).as_posix()
    return f'''\
# {choice.base.system} with {choice.base.backbone} for {data.task} segmentation of
# {data.root}: {len(data.things) + len(data.stuff)} classes{kinds},
# {data.counts[0]} images for training, {data.counts[1]} for validation.
#
#   mmpanseg train {name}
#
# It extends this config of the library; what is not below is as there.
_base_ = {_text(f'mmpanseg::{base}')}'''


def _model(data: OwnData, choice: ModelChoice, plan: Plan) -> str:
    source = data.train.json or data.classes_file
    lines = [f'# Classes of {source}'
             + (', things first' if data.task == 'panoptic' else '')
             + ': the order of labels in results.', 'metainfo = dict(']
    if data.task == 'panoptic':
        entries = [_tuple('thing_classes', map(_text, data.things)),
                   _tuple('stuff_classes', map(_text, data.stuff))]
    else:
        entries = [_tuple('classes', map(_text, data.things + data.stuff))]
    if data.task == 'semantic':
        entries.append(f'    ignore_index={data.ignore_index}')
    if data.colors:
        entries.append(_tuple('palette', map(repr, data.colors), '[]'))
    lines.append(',\n'.join(entries) + ')')
    if not data.colors:
        lines.insert(1, '# Add `palette=[(R, G, B), ...]` for colors of your own.')
    outputs = dict(panoptic='panoptic_on=True, instance_on=False, semantic_on=False',
                   instance='panoptic_on=False, instance_on=True, semantic_on=False',
                   semantic='panoptic_on=False, instance_on=False, semantic_on=True')[data.task]
    model = [f'    num_things_classes={len(data.things)}',
             f'    num_stuff_classes={len(data.stuff)}',
             f'    test_cfg=dict({outputs})']
    comments = []
    backbone = []
    if data.channels:
        comments.append(_channel_comment(data.channels))
        model += _channel_entries(data.channels, choice, plan)
        backbone.append(f'in_channels={data.channels.number}')
    if choice.weights:
        backbone.append('init_cfg=None')
        comments.append('# The backbone needs no weights of its own: `load_from` has them.')
    if backbone:
        model.append(f'    backbone=dict({", ".join(backbone)})')
    if plan.queries:
        head = f'num_queries={plan.queries}'
        if choice.system == 'panoptic_segformer':
            head += f', max_per_image={plan.queries}'
        model.append(f'    panoptic_head=dict({head})')
        comments.append(f'# Queries: {data.most_segments} segments are in one image.'
                        if plan.queries != choice.queries else
                        '# Queries: as many as the weights have.')
    if choice.has_fixed_size:
        width, height = plan.crop_size
        if not data.channels:
            model.append(f'    data_preprocessor=dict(size=({height}, {width}))')
        comments.append('# Every image is padded to one size (32 k + 1 pixels), see below.')
    return '\n'.join([*lines, *comments, 'model = dict(', ',\n'.join(model) + ')'])


def _channel_comment(channels: ChannelFacts) -> str:
    plural = 's' if channels.number > 1 else ''
    text = (f'Images have {channels.number} channel{plural} of {channels.kind}, which are '
            'used as they are stored. Mean and deviation are those of a few images.')
    if channels.number != 3:
        text += (' new_channels adapts the first convolution of the weights; where the first three '
                 "channels are red, green and blue, 'zero' is better than 'repeat'.")
    return _comment(text)


def _channel_entries(channels: ChannelFacts, choice: ModelChoice, plan: Plan) -> list[str]:
    kind = "type='mmpanseg.ChannelDataPreprocessor', pad_size_divisor=32"
    if choice.system == 'kmax_deeplab':
        width, height = plan.crop_size
        size = f'({height}, {width})' if choice.has_fixed_size else None
        kind = f"type='mmpanseg.FixedSizeDataPreprocessor', size={size}"
    entries = [f'    data_preprocessor=dict(\n        _delete_=True, {kind},\n'
               f'        mean={list(channels.mean)},\n        std={list(channels.std)})']
    if channels.number != 3 and (choice.weights or plan.pretrained):
        entries.append(f"    new_channels={'average' if channels.number == 1 else 'repeat'!r}")
    return entries


def _start(choice: ModelChoice, plan: Plan) -> str:
    if choice.weights:
        terms = f' ({choice.license})' if choice.license else ''
        return (_comment(f'Start: the weights of {choice.source}{terms}; the layers for other '
                         'classes begin anew.')
                + f'\nload_from = {_text(choice.weights)}')
    more = 'A published model would learn more from few images: --from, `mmpanseg models`.'
    if not plan.pretrained:
        return _comment(f'Start: from scratch. {more}')
    return _comment('Start: ImageNet weights of the backbone, which the training downloads. '
                    f'{more}')


def _pipelines(data: OwnData, choice: ModelChoice, plan: Plan) -> str:
    long, short = plan.test_scale
    width, height = plan.crop_size
    sizes = f'The images have short sides of {data.short_side} pixels (median)'
    load_image, jitter = "dict(type='LoadImageFromFile')", "dict(type='mmpanseg.SSDColorJitter')"
    if data.channels:
        load_image = f"dict(type='mmpanseg.LoadChannels', num_channels={data.channels.number})"
        jitter = "dict(type='mmpanseg.ChannelJitter')"
    load = f"    {load_image},\n    dict(type='{_LOADERS[data.task]}'),\n"
    # the metric of instances reads the JSON
    load_test = '' if data.task == 'instance' else f"    dict(type='{_LOADERS[data.task]}'),\n"
    if choice.has_fixed_size:
        pixels = max(16, round(width * height / 400))
        comment = _comment(
            f'{sizes}. Sizes are (height, width), 32 k + 1 pixels. In training, kMaX-DeepLab\'s '
            'jitter (0.2 to 2 times that size) and panoptic copy-paste; a picture with fewer than '
            f'{pixels} labeled pixels at stride 4 is drawn again.')
        return f'''\
{comment}
image_size = ({height}, {width})
load_pipeline = [
{load.rstrip(chr(10) + ',')}]
train_pipeline = [
    dict(type='mmpanseg.LargeScaleJitter', size=image_size, scale_range=(0.2, 2.0)),
    {jitter},
    dict(type='mmpanseg.PanopticCopyPaste', size=image_size, transforms=[
        dict(type='mmpanseg.LargeScaleJitter', size=image_size, scale_range=(0.1, 1.0)),
        {jitter}]),
    dict(type='mmpanseg.FilterLabeledPixels', min_pixels={pixels}, stride=4),
    dict(type='mmpanseg.PackPanopticInputs')]
test_pipeline = [
    {load_image},
    dict(type='Resize', scale=image_size, keep_ratio=True),
{load_test}    dict(type='mmpanseg.PackPanopticInputs')]'''
    if choice.is_small:
        why = '; smaller ones keep the small model fast on a CPU'
    elif short < data.short_side - 16:
        why = '; smaller ones save memory and time. Enlarge both if objects are tiny'
    else:
        why = ''
    low, high = (0.8, 1.25) if choice.is_small else (0.5, 1.5)
    comment = _comment(
        f'{sizes}{why}. In tests: (long, short) side at most. In training {low} to {high} times '
        'that, in crops of (width, height), multiples of 32.')
    return f'''\
{comment}
test_scale = ({long}, {short})
crop_size = ({width}, {height})
train_pipeline = [
{load}\
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomResize', scale=test_scale, ratio_range=({low}, {high}), resize_type='Resize',
         keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, crop_type='absolute', allow_negative_crop=True),
    dict(type='mmpanseg.PackPanopticInputs', drop_empty=True)]
test_pipeline = [
    {load_image},
    dict(type='Resize', scale=test_scale, keep_ratio=True),
{load_test}    dict(type='mmpanseg.PackPanopticInputs')]'''


def _loaders(data: OwnData, choice: ModelChoice, plan: Plan) -> str:
    small = choice.is_small
    why = ('enough for batch norm' if small else
           f'crops of {plan.crop_size[0]} x {plan.crop_size[1]} pixels that 12 GB of a GPU hold, '
           'roughly')
    mixed = choice.has_fixed_size
    train = _dataset(data, data.train, 'load_pipeline' if mixed else 'train_pipeline', False)
    if mixed:
        train = (f"dict(\n    _delete_=True,\n    type='mmpanseg.ResamplingMixDataset',\n    "
                 f'pipeline=train_pipeline,\n    dataset={_indent(train)})')
    else:
        train = train.replace('dict(\n', 'dict(\n    _delete_=True,\n', 1)
    val = _dataset(data, data.val, 'test_pipeline', True).replace(
        'dict(\n', 'dict(\n    _delete_=True,\n', 1)
    metric = {
        'panoptic': "dict(_delete_=True, type='mmpanseg.PanopticMetric')",
        'instance': "dict(\n    _delete_=True, type='mmpanseg.InstanceMetric', "
                    f'ann_file=data_root + {_text(data.val.json)})',
        'semantic': "dict(_delete_=True, type='mmpanseg.SemanticMetric')"}[data.task]
    helpers = ['metainfo', 'data_root', 'train_pipeline', 'test_pipeline', *(
        ['load_pipeline', 'image_size'] if mixed else ['test_scale', 'crop_size'])]
    return f'''\
# {plan.batch_size} images per step and device: {why}.
data_root = {_text(data.root.as_posix() + '/')}
train_dataloader = dict(
    batch_size={plan.batch_size},
    sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True),
    dataset={_indent(train)})
val_dataloader = dict(dataset={val})
test_dataloader = val_dataloader
val_evaluator = {metric}
test_evaluator = val_evaluator
del {", ".join(helpers)}'''


def _dataset(data: OwnData, paths: SplitPaths, pipeline: str, test: bool) -> str:
    prefix = f'img={_text(paths.images)}'
    if paths.maps:
        prefix += f', seg={_text(paths.maps)}'
    lines = [f"type='{_DATASETS[data.task]}'", 'data_root=data_root']
    if paths.json:
        lines.append(f'ann_file={_text(paths.json)}')
    lines += [f'data_prefix=dict({prefix})', 'metainfo=metainfo']
    if test:
        lines.append('test_mode=True')
    elif paths.json:
        lines.append('filter_cfg=dict(filter_empty_gt=True)')
    lines.append(f'pipeline={pipeline}')
    return 'dict(\n    ' + ',\n    '.join(lines) + ')'


def _schedule(data: OwnData, plan: Plan) -> str:
    key, title = _SCORES[data.task]
    rate = (f'that of the extended config, {plan.base_lr:g} for {plan.base_batch} images per step'
            + ('' if plan.batch_size == plan.base_batch else
               f', times the root of {plan.batch_size}/{plan.base_batch}'))
    comment = _comment(
        f'{plan.steps} steps are {plan.why_steps}. The learning rate is {rate}; with more GPUs, '
        '`--auto-scale-lr` scales it. It falls to zero: for a longer training write a new config.')
    kept = _comment(f'The checkpoint with the best {title} is kept (best_*.pth in the work dir), '
                    'and the latest one.')
    return f'''\
{comment}
max_iters = {plan.steps}
optim_wrapper = dict(optimizer=dict(lr={plan.lr:g}))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end={plan.warmup}),
    dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=max_iters)]
train_cfg = dict(
    _delete_=True, type='IterBasedTrainLoop', max_iters=max_iters, val_interval={plan.val_interval})
auto_scale_lr = dict(enable=False, base_batch_size={plan.batch_size})
{kept}
default_hooks = dict(
    logger=dict(interval={max(1, min(50, plan.steps // 20))}),
    checkpoint=dict(by_epoch=False, interval={plan.val_interval}, max_keep_ckpts=1,
                    save_best={_text(key)}))
log_processor = dict(by_epoch=False)
del max_iters'''


def _comment(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent='# ', subsequent_indent='# ',
                         break_long_words=False, break_on_hyphens=False)


def _text(text: str) -> str:
    """A Python literal; mmengine would replace what is in two braces."""
    return repr(text).replace('{{', '{\\x7b')


def _indent(text: str) -> str:
    return text.replace('\n', '\n    ')


def _tuple(key: str, items: Iterable[str], brackets: str = '()') -> str:
    """``key=(a, b, ...)`` in lines of limited width, indented by four."""
    items = list(items)
    if len(items) == 1 and brackets == '()':
        items[0] += ','
    lines, line = [], f'    {key}={brackets[0]}'
    for index, item in enumerate(items):
        word = item + (', ' if index < len(items) - 1 else brackets[1])
        if len(line) + len(word.rstrip()) > _WIDTH - 1 and line.strip():
            lines.append(line.rstrip())
            line = ' ' * 8
        line += word
    if not items:
        line += brackets[1]
    return '\n'.join([*lines, line])

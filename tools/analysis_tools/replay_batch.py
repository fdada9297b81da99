"""Run the batch of a stopped training again.

    python tools/analysis_tools/replay_batch.py CONFIG non_finite_step_N.pth

Prints every loss beside the one of the training, the norm of the gradients of each part, and the
first module whose output is not finite.
"""
import argparse

from mmpanseg.engine import (
    UsageError,
    add_config_options,
    import_mmdet,
    run_tool,
    user_mistakes,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Run the batch of a stopped training again')
    parser.add_argument('config', help='config file of the training')
    parser.add_argument('file', help='file that the training wrote, non_finite_step_N.pth')
    parser.add_argument('--device', help='e.g. cpu (default: that of the training)')
    parser.add_argument('--detect-anomaly', action='store_true',
                        help='search for the operation whose backward pass returns NaN')
    add_config_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import_mmdet()
    import torch
    from mmengine.registry import init_default_scope

    from mmpanseg.engine.batch_encoding import decode_batch
    from mmpanseg.engine.launch import check_device, check_model_config, load_config
    from mmpanseg.engine.step_files import image_names, read_step
    from mmpanseg.engine.step_replay import replay_step, same_number
    from mmpanseg.utils.finite import describe_non_finite, named_tensors

    check_device(args.device)
    cfg = load_config(args.config, args.cfg_options)
    check_model_config(cfg, args.config)
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    content = read_step(args.file)
    if args.device is None and content['device'] == 'cuda' and not torch.cuda.is_available():
        raise UsageError(f'{args.file} is of a training on a GPU, and torch sees none: add '
                         '--device cpu; losses then differ by rounding')
    batch = decode_batch(content['batch'])
    print(f'step {content["step"]}, process {content["rank"]} of {content["processes"]}: '
          f'{", ".join(image_names(batch)) or "images without a path"}')
    if content['processes'] > 1:
        print('the training ran several processes: losses that are normalized over all of them '
              'differ here')
    for what, found in (('images', dict(named_tensors(batch['inputs'], 'inputs'))),
                        ('weights before the step', content['state_dict'])):
        print(f'{what}: {describe_non_finite(found) or "finite"}')
    with user_mistakes():
        try:
            result = replay_step(cfg.model, content, args.device, args.detect_anomaly)
        except RuntimeError as error:
            raise UsageError(f'{args.file} cannot run with {args.config}: '
                             f'{" ".join(str(error).split())[:400]}') from error
    equal = 0
    print(f'{"loss":<40}{"training":>16}{"now":>16}')
    for name, value in result.losses.items():
        before = content['losses'].get(name, float('nan'))
        equal += same_number(value, before)
        print(f'{name:<40}{before:>16.8g}{value:>16.8g}')
    print(f'{equal} of {len(result.losses)} losses are equal to the last bit')
    print(f'{"gradient norm":<40}{"training":>16}{"now":>16}')
    for part, norm in result.gradient_norms.items():
        before = content['gradient_norms'].get(part, float('nan'))
        print(f'{part:<40}{before:>16.8g}{norm:>16.8g}')
    print(f'first module whose output is not finite: {result.first_module or "none"}')
    if args.detect_anomaly:
        print(f'anomaly detection: {result.anomaly or "the backward pass returns no NaN"}')


if __name__ == '__main__':
    run_tool(main)

"""Draw predictions on images: python tools/image_demo.py IMG CONFIG CKPT [options]."""
import argparse
import sys
from pathlib import Path

from mmpanseg.engine import (
    UsageError,
    add_config_options,
    add_strict_meta,
    add_trust_option,
    import_mmdet,
    run_tool,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Draw predictions on images')
    parser.add_argument('img', help='image file, folder, or glob pattern (in quotes)')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('--out', default='outputs', help='picture file to write, or folder for '
                        'several: {name of the image}.png, in sub-folders where names are equal '
                        '(default: outputs)')
    parser.add_argument('--pred-dir', help='also write the predictions in COCO\'s formats, to '
                        'preds/ in this folder')
    parser.add_argument('--device', help='e.g. cuda:0 or cpu (default: a GPU if there is one)')
    parser.add_argument('--tile', nargs=2, type=int, metavar=('H', 'W'),
                        help='predict large images at their own size, in tiles of H x W pixels')
    parser.add_argument('--overlap', type=int, help='pixels that neighboring tiles share '
                        '(default: an eighth of the tile)')
    parser.add_argument('--score-thr', type=float, default=0.3,
                        help='things with a lower score are not drawn (default: 0.3)')
    parser.add_argument('--show', action='store_true', help='also show each picture in a window')
    add_config_options(parser)
    add_trust_option(parser)
    add_strict_meta(parser)
    return parser.parse_args()


def summary(prediction: dict) -> str:
    """Count the segments, instances and classes of a prediction."""
    counts = [f'{len(prediction[key])} {name}' for key, name in (
        ('segments_info', 'segments'), ('instances', 'instances')) if key in prediction]
    if 'sem_seg' in prediction:
        counts.append(f'{len(set(prediction["sem_seg"].ravel().tolist()))} classes')
    return ', '.join(counts)


def draw(args: argparse.Namespace) -> None:
    """Predict the images, write their pictures, and print a line for each."""
    from mmpanseg.apis import PanopticInferencer
    from mmpanseg.checkpoints import CheckpointError
    from mmpanseg.engine.launch import (
        check_checkpoint,
        check_device,
        check_model_config,
        load_config,
    )
    from mmpanseg.structures.result_file_names import PICTURE_ENDINGS, result_names
    from mmpanseg.visualization import require_display
    from mmpanseg.visualization.picture_files import write_picture

    cfg = load_config(args.config, args.cfg_options)
    check_model_config(cfg, args.config, 'test_dataloader')
    check_device(args.device)
    try:
        inferencer = PanopticInferencer(
            cfg, check_checkpoint(args.checkpoint, args.config), device=args.device,
            show_progress=False, tile=args.tile, overlap=args.overlap, strict_meta=args.strict_meta)
    except CheckpointError as error:
        text = str(error).removeprefix(f'{args.checkpoint}: ')
        raise UsageError(f'{args.checkpoint}: {text}') from error
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    if args.show:
        require_display()
    out = Path(args.out)
    is_file = out.suffix.lower() in PICTURE_ENDINGS
    images = inferencer.find_images(args.img)
    if is_file and len(images) > 1:
        raise UsageError(f'--out {out} names one picture, but {args.img} matches '
                         f'{len(images)} images: name a folder')
    names = result_names(images)
    results = inferencer.stream(
        images, return_vis=True, show=args.show, no_save_vis=True, pred_score_thr=args.score_thr,
        out_dir=args.pred_dir or '', skip_unreadable=True)
    unreadable = []
    for image, result in zip(images, results):
        if 'error' in result:
            if len(images) == 1:
                raise UsageError(result['error'])
            unreadable.append(image)
            print(result['error'], file=sys.stderr)
            continue
        target = out if is_file else out / f'{names[image]}.png'
        write_picture(target, result['visualization'])
        print(f'{image}: {summary(result["prediction"])} -> {target}')
    if unreadable:
        raise UsageError(f'{len(unreadable)} of {len(images)} images could not be predicted: '
                         f'{", ".join(unreadable)}')


def main() -> None:
    args = parse_args()
    import_mmdet()
    from mmpanseg.apis import ImageError
    from mmpanseg.visualization import NoDisplayError

    try:
        draw(args)
    except (ImageError, NoDisplayError) as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        if error.filename is None or error.strerror is None:
            raise
        raise UsageError(f'{error.filename}: {error.strerror}') from error


if __name__ == '__main__':
    run_tool(main)

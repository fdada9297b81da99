"""Pictures like Figure B.6 of Panoptic SegFormer: the attention maps behind the masks.

    python tools/analysis_tools/attention_maps.py CONFIG CHECKPOINT --out-dir FOLDER

For each image of the test data one picture with a row for each of its most confident segments:
the segment in the image, the attention of every head (logits, mean over the levels), the mask.
"""
from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from mmpanseg.engine import UsageError, add_model_options, import_mmdet, positive, run_tool

if TYPE_CHECKING:
    import numpy as np

    from mmpanseg.explain.attention_maps import SegmentAttention


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Draw the attention maps behind segments')
    add_model_options(parser)
    parser.add_argument('--out-dir', required=True, help='folder for the pictures')
    parser.add_argument('--num-images', type=positive, default=10,
                        help='number of first images (default: 10)')
    parser.add_argument('--num-segments', type=positive, default=6,
                        help='number of segments of each image (default: 6)')
    parser.add_argument('--width', type=positive, default=240,
                        help='width of each map in pixels (default: 240)')
    return parser.parse_args()


def draw(image: np.ndarray, segments: list[SegmentAttention], dataset_meta: dict,
         width: int) -> np.ndarray:
    """Draw the segments of one image, uint8 RGB [rows, columns, 3]."""
    import numpy as np

    from mmpanseg.visualization import draw_attention, generate_palette

    classes = dataset_meta['classes']
    palette = dataset_meta.get('palette') or generate_palette(len(classes))
    return np.vstack([draw_attention(
        image, segment.inside, tuple(palette[segment.info['label']]), segment.heads,
        segment.mask, f'{classes[segment.info["label"]]} {segment.info["score"]:.0%}', width)
        for segment in segments])


def main() -> None:
    args = parse_args()
    import_mmdet()
    from mmengine.utils import track_iter_progress

    from mmpanseg.analysis.trained_model import load_trained
    from mmpanseg.explain.attention_maps import segment_attention
    from mmpanseg.structures.result_file_names import dataset_result_names
    from mmpanseg.structures.sample_image import read_sample_image
    from mmpanseg.visualization.picture_files import write_picture

    model, loader = load_trained(args)
    names = dataset_result_names(loader.dataset)
    count, drawn = min(args.num_images, len(loader)), 0
    for data in track_iter_progress((islice(loader, count), count)):
        try:
            results = segment_attention(model, data)
        except ValueError as error:
            raise UsageError(str(error)) from error
        for sample, segments in results:
            segments = sorted(segments, key=lambda segment: -segment.info['score'])
            if not segments:
                continue
            image = read_sample_image(sample.metainfo)
            picture = draw(image, segments[:args.num_segments], model.dataset_meta, args.width)
            path = Path(args.out_dir) / f'{names[sample.img_path]}.png'
            write_picture(path, picture)
            drawn += 1
    print(f'\n{drawn} pictures are in {args.out_dir}')


if __name__ == '__main__':
    run_tool(main)

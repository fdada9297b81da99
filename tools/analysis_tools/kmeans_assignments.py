"""Pictures like kMaX-DeepLab's Figure 1: the cluster of each pixel after each decoder stage.

    python tools/analysis_tools/kmeans_assignments.py CONFIG CHECKPOINT --out-dir FOLDER

For each image of the test data one row: the image, the clusters at the end of each decoder stage
(each pixel belongs to the query with the largest mask logit), and the clusters of the result. A
query has one color throughout.
"""
import argparse
from itertools import islice
from pathlib import Path

from mmpanseg.engine import UsageError, add_model_options, import_mmdet, positive, run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Draw the clusters of each decoder stage')
    add_model_options(parser)
    parser.add_argument('--out-dir', required=True, help='folder for the pictures')
    parser.add_argument('--num-images', type=positive, default=10,
                        help='number of first images (default: 10)')
    parser.add_argument('--every-layer', action='store_true',
                        help='draw all layers, not only the last one of each stage')
    parser.add_argument('--width', type=positive, default=320,
                        help='width of each map in pixels (default: 320)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import_mmdet()
    from mmengine.utils import track_iter_progress

    from mmpanseg.analysis.trained_model import load_trained
    from mmpanseg.explain.cluster_maps import cluster_maps, draw_clusters
    from mmpanseg.structures.result_file_names import dataset_result_names
    from mmpanseg.structures.sample_image import read_sample_image
    from mmpanseg.visualization.picture_files import write_picture

    model, loader = load_trained(args)
    names = dataset_result_names(loader.dataset)
    count, drawn = min(args.num_images, len(loader)), 0
    for data in track_iter_progress((islice(loader, count), count)):
        try:
            samples, maps = cluster_maps(model, data, args.every_layer)
        except ValueError as error:
            raise UsageError(str(error)) from error
        for index, sample in enumerate(samples):
            image = read_sample_image(sample.metainfo)
            picture = draw_clusters(image, maps, index, sample.img_shape,
                                    model.panoptic_head.num_queries, args.width)
            path = Path(args.out_dir) / f'{names[sample.img_path]}.png'
            write_picture(path, picture)
            drawn += 1
    print(f'\n{drawn} pictures are in {args.out_dir}')


if __name__ == '__main__':
    run_tool(main)

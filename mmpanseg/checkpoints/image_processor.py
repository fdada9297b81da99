"""Export of image preprocessing to ``preprocessor_config.json`` of transformers."""
from collections.abc import Sequence
from typing import Any

from mmpanseg.checkpoints.sources import CheckpointError

# transforms that do not change the image
_LOADING = ('LoadImageFromFile', 'LoadAnnotations', 'LoadPanopticAnnotations', 'LoadPanopticMap',
            'LoadSemanticMap', 'PackPanopticInputs', 'PackDetInputs')


def processor_config(model: dict, pipeline: Sequence[dict]) -> dict[str, Any]:
    """Create the config of ``Mask2FormerImageProcessor``: size, normalization and padding.

    Args:
        model: ``model`` of the config.
        pipeline: test pipeline.

    Raises:
        CheckpointError: transformers does not implement the resizing or color order; the text names
            the key.
    """
    preprocessor = model.get('data_preprocessor') or {}
    mean, std = preprocessor.get('mean'), preprocessor.get('std')
    if not (preprocessor.get('bgr_to_rgb') or preprocessor.get('rgb_to_bgr')):
        # images are read as BGR in this library
        raise CheckpointError('images are RGB in transformers, but BGR for this model: '
                              'model.data_preprocessor.bgr_to_rgb is not set')
    size = _size(pipeline)
    config = dict(
        image_processor_type='Mask2FormerImageProcessor', do_resize=size is not None,
        size_divisor=preprocessor.get('pad_size_divisor', 1), ignore_index=255,
        do_reduce_labels=False, num_labels=model['num_things_classes'] + model['num_stuff_classes'],
        do_convert_rgb=True, resample=2, do_normalize=mean is not None,
        # pixel values are 0 .. 255 in this library, 0 .. 1 in transformers
        do_rescale=mean is not None, rescale_factor=1 / 255)
    if size is not None:
        config['size'] = size
    if mean is not None and std is not None:
        config.update(image_mean=[x / 255 for x in mean], image_std=[x / 255 for x in std])
    return config


def _size(pipeline: Sequence[dict]) -> dict[str, int] | None:
    """Find the target size of the pipeline; None if it does not resize."""
    size = None
    for step in pipeline:
        name = str(step['type']).rpartition('.')[2]
        if name in _LOADING:
            continue
        where = f'test_dataloader.dataset.pipeline: {name}'
        if name == 'Resize' and size is None and step.get('scale') is not None:
            scale = step['scale']
            width, height = (scale, scale) if isinstance(scale, int) else scale
            size = (dict(shortest_edge=min(width, height), longest_edge=max(width, height))
                    if step.get('keep_ratio') else dict(height=height, width=width))
        elif name == 'ResizeShortestEdge' and size is None and isinstance(step['scale'], int):
            size = dict(shortest_edge=step['scale'], longest_edge=step['max_size'])
        else:
            raise CheckpointError(
                f'transformers cannot express {where} with {dict(step)}; test images can have one '
                'Resize with scale=(width, height), or none')
    return size

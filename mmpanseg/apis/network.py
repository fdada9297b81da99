"""The network of a predictor: from prepared images to logits or results."""
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from mmpanseg.apis.kept_logits import Logits, QueryLogits, fuse_tiles
from mmpanseg.apis.predictor_errors import PredictorError
from mmpanseg.apis.preparation import PreparedImage
from mmpanseg.models.fusion_heads import FusionHead
from mmpanseg.models.inference.test_cfg import OutputOptions
from mmpanseg.models.inference.tiled_prediction import tile_inputs
from mmpanseg.models.segmentors import MaskTransformer

_CPU_ALLOCATION = ('DefaultCPUAllocator', "can't allocate memory", 'not enough memory')


class Network:
    """Runs a segmentor on batches of prepared images of one padded size.

    Args:
        model: the segmentor, in evaluation mode.
        device: where it is.
    """

    def __init__(self, model: MaskTransformer, device: torch.device) -> None:
        self.model, self.device = model, device

    @torch.no_grad()
    def logits(self, batch: Sequence[PreparedImage], keep: bool = True) -> list[Logits]:
        """Compute the logits of a batch.

        Args:
            batch: images with views of one padded size each; one image if it is predicted in tiles.
            keep: whether logits outlive the batch; otherwise they share its memory.
        """
        start = time.perf_counter()
        views = [self._normalized(batch, number) for number in range(len(batch[0].views))]
        prepared = self._clock()
        if self.model.tiling is not None:
            inputs, metainfos = views[0]
            parts = [tuple(self._query_tile(tile.image, tile.metainfo, keep)
                           for tile in tile_inputs(inputs[0], metainfos[0], self.model.tiling))]
        else:
            # per image the predictions for all views
            parts = list(zip(*(self._query(*view, keep) for view in views)))
        end = self._clock()
        return [self._logits(image, views[0][1][number], parts[number],
                             (prepared - start) / len(batch), (end - prepared) / len(batch))
                for number, image in enumerate(batch)]

    @torch.no_grad()
    def fused_tiles(self, prepared: PreparedImage, head: FusionHead,
                    outputs: OutputOptions) -> tuple[Logits, dict]:
        """Predict an image in tiles, of which the logits of one at a time are in memory.

        Args:
            prepared: the image.
            head: the fusion head.
            outputs: options of the outputs.

        Returns:
            logits without parts, with 'fuse' in their ``speed``, and the results.
        """
        assert self.model.tiling is not None
        start = time.perf_counter()
        inputs, metainfos = self._normalized([prepared], 0)
        begin, spent = self._clock(), [0.0]

        def query(tile: Tensor, shapes: dict) -> QueryLogits:
            before = time.perf_counter()
            found = self._query_tile(tile, shapes, keep=False)
            spent[0] += self._clock() - before
            return found

        results = fuse_tiles(query, inputs[0], metainfos[0], self.model.tiling, head, outputs)
        logits = self._logits(prepared, metainfos[0], (), begin - start, spent[0])
        logits.speed['fuse'] = 1000 * (time.perf_counter() - begin - spent[0])
        return logits, results

    def _normalized(self, batch: Sequence[PreparedImage],
                    view: int) -> tuple[Tensor, list[dict]]:
        """Normalize and pad a view of each image alone: [B, C, H, W], and meta information."""
        done = [self.model.data_preprocessor(
            dict(inputs=[image.views[view]], data_samples=[image.samples[view]]), False)
            for image in batch]
        inputs = done[0]['inputs'] if len(done) == 1 else torch.cat(
            [data['inputs'] for data in done])
        return inputs, [data['data_samples'][0].metainfo for data in done]

    def _query(self, inputs: Tensor, metainfos: list[dict], keep: bool) -> list[QueryLogits]:
        """Predict a batch [B, C, H, W], one entry per image."""
        cls_logits, mask_logits = self.model.predict_queries(inputs, metainfos)
        if len(metainfos) == 1 and not keep:
            return [QueryLogits(cls_logits, mask_logits, metainfos[0])]
        return [QueryLogits(cls_logits[number:number + 1].clone(), mask_logits.of_image(number),
                            metainfo) for number, metainfo in enumerate(metainfos)]

    def _query_tile(self, tile: Tensor, metainfo: dict, keep: bool) -> QueryLogits:
        """Predict a normalized tile [1, C, h, w] without padding."""
        padded = self.model.pad(tile)
        metainfo = dict(metainfo, batch_input_shape=tuple(padded.shape[-2:]))
        return self._query(padded, [metainfo], keep)[0]

    def _logits(self, image: PreparedImage, metainfo: dict, parts: tuple[QueryLogits, ...],
                prepare: float, forward: float) -> Logits:
        speed = dict(load=image.speed['load'],
                     preprocess=image.speed['preprocess'] + 1000 * prepare,
                     forward=1000 * forward)
        source = image.source
        return Logits(parts, metainfo, self.model.tiling, source.path, source.name,
                      source.file_name, image.image, speed)

    def _clock(self) -> float:
        """Time in s, after all work of the device."""
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


@contextmanager
def explained_memory_errors(name: str, batch_size: int, device: torch.device) -> Iterator[None]:
    """Name the remedies where memory is not sufficient.

    Args:
        name: of the image that is predicted.
        batch_size: number of images in a forward pass.
        device: where the model is.

    Raises:
        PredictorError: in place of an error of torch or Python about memory.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        text = str(error)
        if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and not any(
                words in text for words in _CPU_ALLOCATION):
            raise
        smaller = f'batch_size (--batch) below {batch_size}, ' if batch_size > 1 else ''
        raise PredictorError(
            f'{name}: out of memory on {device}: use {smaller}tiles (tile=(1024, 1024), '
            '--tile 1024 1024), or another device (device=, --device)') from error

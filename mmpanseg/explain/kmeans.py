"""Traces of kMaX-DeepLab: predictions, clusters and attention of every decoder layer."""
from collections.abc import Sequence

from torch import Tensor

from mmpanseg.explain.traces import AttentionMap, Layer, Recorder
from mmpanseg.models.heads import KMaXDeepLabHead
from mmpanseg.models.inference.full_size_masks import SCORE_ACTIVATIONS
from mmpanseg.models.losses.kmax_criterion import KMaXPrediction
from mmpanseg.structures.mask_logits import DenseMaskLogits


class KMeansTrace:
    """A forward pass of a kMaX-DeepLab head.

    A layer predicts from its inputs, and its k-means update uses this prediction. The last entry is
    the prediction of the result.

    Args:
        head: the head.
        recorder: with its calls.
    """

    attention_title = 'k-means assignment'

    def __init__(self, head: KMaXDeepLabHead, recorder: Recorder) -> None:
        self._layers = head.transformer_decoder.layers
        self._calls = [recorder.last(layer) for layer in self._layers]
        self._attention = [recorder.last(layer.self_attn).args for layer in self._layers]
        self._last: KMaXPrediction = recorder.last(head.predictor).output
        self._activation = SCORE_ACTIVATIONS[head.score_activation]
        if not any(layer.interaction.kmeans for layer in self._layers):
            self.attention_title = 'cross-attention'

    @staticmethod
    def recorder(head: KMaXDeepLabHead) -> Recorder:
        """Create the recorder of a head."""
        layers = head.transformer_decoder.layers
        return Recorder([*layers, *(layer.self_attn for layer in layers), head.predictor])

    def query(self, image: int, row: int) -> int:
        """Return the query of a row: rows are queries."""
        return row

    def layers(self, image: int, row: int) -> list[Layer]:
        """Return what each layer computed, and the last prediction."""
        found = []
        for number, (module, call) in enumerate(zip(self._layers, self._calls), 1):
            prediction: KMaXPrediction | None = call.output.prediction
            found.append(self._layer(
                f'layer {number}', prediction, image, row,
                self._look(number - 1, image, row) if module.interaction.cross else (),
                module.interaction.kmeans))
        return [*found, self._layer('result', self._last, image, row, (), False)]

    def owners(self) -> list[Tensor]:
        """Query with the largest mask logit of each pixel, int64 [B, h, w].

        Returns:
            one for each layer that predicts, and that of the result.
        """
        predictions: Sequence[KMaXPrediction] = [
            call.output.prediction for call in self._calls if call.output.prediction is not None]
        return [prediction.mask_logits.argmax(1) for prediction in (*predictions, self._last)]

    def _layer(self, title: str, prediction: KMaXPrediction | None, image: int, row: int,
               look: tuple[AttentionMap, ...], kmeans: bool) -> Layer:
        if prediction is None:
            return Layer(title, attention=look)
        logits = prediction.mask_logits
        return Layer(
            title, self._activation(prediction.cls_logits[image, row].float()),
            DenseMaskLogits([logits]).float(), row, look,
            owner=logits[image].argmax(0) if kmeans else None)

    def _look(self, number: int, image: int, row: int) -> tuple[AttentionMap, ...]:
        """Attention of a layer whose softmax is over the pixels and the queries."""
        query, key, _ = self._attention[number]
        height, width = self._calls[number].output.pixels.shape[-2:]
        weights = self._layers[number].self_attn.weights(
            query[image:image + 1, :, row:row + 1], key[image:image + 1])[0, :, 0]
        pixels, others = weights[:, :height * width], weights[:, height * width:]
        return (AttentionMap(pixels.unflatten(1, (height, width)),
                             queries_share=float(others.sum(1).mean())), )

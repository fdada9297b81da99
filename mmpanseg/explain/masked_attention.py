"""Traces of Mask2Former and MP-Former: predictions and cross-attention of every decoder layer."""
from mmpanseg.explain.traces import AttentionMap, Layer, Recorder, selected, split_levels
from mmpanseg.models.heads import Mask2FormerHead
from mmpanseg.models.inference.full_size_masks import SCORE_ACTIVATIONS
from mmpanseg.models.layers.attention import Memory


class MaskedAttentionTrace:
    """A forward pass of a Mask2Former head.

    Args:
        head: the head.
        recorder: with its calls.
    """

    attention_title = 'cross-attention'

    def __init__(self, head: Mask2FormerHead, recorder: Recorder) -> None:
        mask_features, _ = recorder.last(head.pixel_decoder).output
        decoded = recorder.last(head.transformer_decoder).output
        cls_logits, masks = head.classify(decoded, mask_features)
        self._scores = SCORE_ACTIVATIONS[head.score_activation](cls_logits.float())
        self._masks = masks.float()
        self._attention = [(layer.cross_attn, recorder.last(layer.cross_attn).args)
                           for layer in head.transformer_decoder.layers]

    @staticmethod
    def recorder(head: Mask2FormerHead) -> Recorder:
        """Create the recorder of a head."""
        decoder = head.transformer_decoder
        return Recorder([head.pixel_decoder, decoder,
                         *(layer.cross_attn for layer in decoder.layers)])

    def query(self, image: int, row: int) -> int:
        """Return the query of a row: rows are queries."""
        return row

    def layers(self, image: int, row: int) -> list[Layer]:
        """Return the prediction before the first layer, and what each layer computed."""
        parts = [self._masks.of_layer(number) for number in range(len(self._masks))]
        looks = [(), *(self._look(number, image, row) for number in range(len(self._attention)))]
        return [Layer(f'layer {number}' if number else 'initial query', scores[image, row], masks,
                      row, look)
                for number, (scores, masks, look) in enumerate(zip(self._scores, parts, looks))]

    def _look(self, number: int, image: int, row: int) -> tuple[AttentionMap, ...]:
        module, args = self._attention[number]
        memory: Memory = args[2]
        weights, mask = module.weights(*args, index=selected(row, memory.key.device))
        maps = split_levels(weights[image, :, 0].float(), memory.sizes)
        if mask is None:
            return tuple(AttentionMap(heads) for heads in maps)
        # one mask for all heads, or the logarithm of a factor for each
        allowed = (mask[image, 0] if mask.ndim == 3 else mask[image, :, 0].float().exp())
        return tuple(AttentionMap(heads, part) for heads, part in zip(
            maps, split_levels(allowed, memory.sizes)))

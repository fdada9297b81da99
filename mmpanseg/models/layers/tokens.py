"""Multi-scale features as one sequence of tokens.

Shapes: B images, S tokens of all levels, C channels, L levels.
"""
from dataclasses import dataclass
from typing import Optional

from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """Flattened feature maps of a batch, high resolution first.

    Attributes:
        memory: features [B, S, C].
        positions: their position codes [B, S, C].
        padding: bool [B, S], True where a token lies outside its image; None: nowhere.
        sizes: (h, w) of each level.
        valid_ratios: share (width, height) of each map that an image covers [B, L, 2].
    """
    memory: Tensor
    positions: Tensor
    padding: Optional[Tensor]
    sizes: tuple[tuple[int, int], ...]
    valid_ratios: Tensor

    def first_levels(self, count: int) -> 'Tokens':
        """Those of the first levels only."""
        sizes = self.sizes[:count]
        end = sum(height * width for height, width in sizes)
        return Tokens(
            self.memory[:, :end], self.positions[:, :end],
            None if self.padding is None else self.padding[:, :end], sizes,
            self.valid_ratios[:, :count])

    def image(self, index: int) -> 'Tokens':
        """Those of one image, still with B = 1."""
        part = slice(index, index + 1)
        return Tokens(
            self.memory[part], self.positions[part],
            None if self.padding is None else self.padding[part], self.sizes,
            self.valid_ratios[part])

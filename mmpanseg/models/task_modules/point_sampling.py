"""Where masks are compared: uniform points for matching, uncertain ones for the loss."""
import torch
from torch import Tensor

from mmpanseg.structures.chunks import chunk_rows
from mmpanseg.structures.mask_logits import sample_own_points


class PointSampler:
    """Random points in the unit square (PointRend section 3.1; Mask2Former section 3.3).

    Args:
        num_points: P, points per mask.
        oversample_ratio: candidates drawn per point kept, at least 1.
        importance_ratio: share of the points taken from the most uncertain candidates, 0..1.
    """

    def __init__(self, num_points: int = 12544, oversample_ratio: float = 3.0,
                 importance_ratio: float = 0.75) -> None:
        if num_points < 1 or oversample_ratio < 1 or not 0 <= importance_ratio <= 1:
            raise ValueError(
                'point sampling needs num_points >= 1, oversample_ratio >= 1 and importance_ratio '
                f'in 0..1, got {num_points}, {oversample_ratio}, {importance_ratio}')
        self.num_points = num_points
        self.num_candidates = int(num_points * oversample_ratio)
        self.num_uncertain = int(num_points * importance_ratio)

    def uniform(self, sets: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Uniform points [sets, P, 2]."""
        return torch.rand(sets, self.num_points, 2, device=device, dtype=dtype)

    def uncertain(self, logits: Tensor) -> Tensor:
        """Points [m, P, 2] for dense mask logits [m, h, w], the uncertain ones first.

        A logit near zero is uncertain. Uncertainty is read at the candidates, not on the pixel
        grid: interpolating it would make pixels on both sides of an edge look certain.
        """
        points = logits.new_empty(len(logits), self.num_points, 2)
        step = chunk_rows(logits.device, 4 * self.num_candidates)
        for part, chosen in zip(logits.split(step), points.split(step)):
            candidates = torch.rand(len(part), self.num_candidates, 2, device=part.device,
                                    dtype=part.dtype)
            certainty = sample_own_points(part, candidates).abs_()
            # in any order; a point is picked as one number of two parts
            best = certainty.topk(self.num_uncertain, dim=1, largest=False, sorted=False).indices
            picked = torch.view_as_complex(candidates).gather(1, best)
            chosen[:, :self.num_uncertain] = torch.view_as_real(picked)
        points[:, self.num_uncertain:] = torch.rand(
            len(logits), self.num_points - self.num_uncertain, 2, device=logits.device,
            dtype=logits.dtype)
        return points

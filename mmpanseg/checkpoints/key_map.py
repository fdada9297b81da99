"""Renaming of parameters from other code bases' releases to ours."""
import re
from typing import Callable, Optional, Sequence

from torch import Tensor

# pattern for the whole key, replacement (None = the tensor has no place here), change of the values
Rule = tuple[str, Optional[str], Optional[Callable[[Tensor], Tensor]]]


def rename(state_dict: dict[str, Tensor], rules: Sequence[Rule]) -> dict[str, Tensor]:
    """State dict under new names.

    Args:
        state_dict: tensors by name.
        rules: the first rule whose pattern matches the whole key applies.

    Raises:
        KeyError: for a key that no rule matches; the text names it.
    """
    renamed = {}
    for key, value in state_dict.items():
        for pattern, replacement, change in rules:
            match = re.fullmatch(pattern, key)
            if match:
                if replacement is not None:
                    renamed[match.expand(replacement)] = change(value) if change else value
                break
        else:
            raise KeyError(f'{key}: this parameter is not known in the format to convert; '
                           'is the checkpoint of another model?')
    return renamed

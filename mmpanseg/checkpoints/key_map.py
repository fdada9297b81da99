"""Renaming of parameters from other code bases' releases to ours."""
import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# pattern for the whole key; replacement, None = the tensor has no place here; change of the values
# (or, for a tensor without a place, why: see `drop`)
Rule = tuple[str, str | None, None | str | Callable[[Tensor], Tensor]]

_PIECE = re.compile(r'(.+)#(\d+)')


def drop(pattern: str, reason: str) -> Rule:
    """Rule for tensors that have no place in our models, and why."""
    return pattern, None, reason


def rename(state_dict: dict[str, Tensor], rules: Sequence[Rule],
           unused: dict[str, str] | None = None) -> dict[str, Tensor]:
    """State dict under new names.

    Args:
        state_dict: tensors by name.
        rules: the first rule whose pattern matches the whole key applies. Tensors renamed to
            ``name#0``, ``name#1``, ... are joined along their first dimension to ``name``.
        unused: gets the keys without a place here, with the reason.

    Raises:
        KeyError: for a key that no rule matches, for two keys with the same new name; the text
            names them.
    """
    renamed: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for key, value in state_dict.items():
        for pattern, replacement, change in rules:
            match = re.fullmatch(pattern, key)
            if match:
                break
        else:
            raise KeyError(f'{key}: this parameter is not known in the format to convert; '
                           'is the checkpoint of another model?')
        if replacement is None:
            if unused is not None:
                unused[key] = change or 'has no place here'
            continue
        name = match.expand(replacement)
        if name in origin:
            raise KeyError(f'{origin[name]} and {key} both are {name}')
        origin[name] = key
        renamed[name] = change(value) if change else value
    return _join_pieces(renamed)


def _join_pieces(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    joined: dict[str, Tensor] = {}
    pieces: dict[str, dict[int, Tensor]] = {}
    for key, value in state_dict.items():
        match = _PIECE.fullmatch(key)
        if match:
            pieces.setdefault(match[1], {})[int(match[2])] = value
        else:
            joined[key] = value
    for key, parts in pieces.items():
        joined[key] = torch.cat([parts[i] for i in sorted(parts)])
    return joined

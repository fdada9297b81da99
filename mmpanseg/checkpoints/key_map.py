"""Rules that rename the parameters of other code bases."""
import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# pattern of the whole key, replacement and optional function of the values; or, for a tensor that
# is not converted, pattern, None and the reason
Rule = tuple[str, str, Callable[[Tensor], Tensor] | None] | tuple[str, None, str]

_PIECE = re.compile(r'(.+)#(\d+)')


def drop(pattern: str, reason: str) -> Rule:
    """Create the rule for tensors that are not converted.

    Args:
        pattern: regular expression of the whole key.
        reason: why the tensors are not needed.
    """
    return pattern, None, reason


def rename(state_dict: dict[str, Tensor], rules: Sequence[Rule],
           unused: dict[str, str] | None = None) -> dict[str, Tensor]:
    """Rename the tensors of a state dict.

    Args:
        state_dict: name -> tensor.
        rules: the first rule whose pattern matches the whole key is applied. Tensors renamed to
            ``name#0``, ``name#1``, ... are concatenated along the first dimension as ``name``.
        unused: receives key -> reason for each tensor that is not converted.

    Raises:
        KeyError: no rule matches a key, or two keys map to the same name; the text names them.
    """
    renamed: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for key, value in state_dict.items():
        for rule in rules:
            match = re.fullmatch(rule[0], key)
            if match:
                break
        else:
            raise KeyError(f'{key}: this parameter is unknown in the source format; is the '
                           'checkpoint of another model?')
        if rule[1] is None:
            if unused is not None:
                unused[key] = rule[2]
            continue
        name, change = match.expand(rule[1]), rule[2]
        if name in origin:
            raise KeyError(f'{origin[name]} and {key} both map to {name}')
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

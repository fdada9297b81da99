"""Comparison of the names in an optimizer's ``paramwise_cfg`` with those of the parameters."""
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from torch import nn

from mmpanseg.utils.modules import unwrap_model

# Keys of mmengine's DefaultOptimWrapperConstructor, which ignores all others.
_DEFAULT_KEYS = (
    'custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'flat_decay_mult',
    'dwconv_decay_mult', 'dcn_offset_lr_mult', 'bypass_duplicate')
_DEFAULT_CONSTRUCTORS = (None, 'DefaultOptimWrapperConstructor',
                         'mmengine.DefaultOptimWrapperConstructor')


def unknown_name(key: str, name: str, known: Iterable[str]) -> ValueError:
    """Create the error for a name in ``paramwise_cfg`` that matches no parameter.

    Args:
        key: entry of ``optim_wrapper.paramwise_cfg``.
        name: the name in that entry.
        known: names of all parameters.

    Returns:
        An error whose text lists similar names.
    """
    # A typing mistake may be in one part of a dotted name or in the whole name.
    parts = {part for entry in known for part in (entry, *entry.split('.'))}
    near = get_close_matches(name, sorted(parts), n=3) or get_close_matches(
        name.strip('.').split('.')[-1], sorted(parts), n=3)
    hint = f'; near are {", ".join(near)}' if near else ''
    return ValueError(f'optim_wrapper.paramwise_cfg.{key} names {name!r}, which no parameter of '
                      f'the model has in its name{hint}')


def check_keys(options: dict, known: Sequence[str], constructor: str) -> None:
    """Compare the keys of a ``paramwise_cfg`` with those that its constructor reads.

    Args:
        options: the ``paramwise_cfg``.
        known: keys that the constructor reads.
        constructor: name of the constructor, for the error text.

    Raises:
        ValueError: for the first other key; the text names a similar one.
    """
    for key in options:
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            hint = f' (did you mean {near[0]}?)' if near else ''
            raise ValueError(f'optim_wrapper.paramwise_cfg has no key {key!r}{hint}: {constructor} '
                             f'knows {", ".join(known)}')


def check_paramwise(optim_wrapper: dict, model: nn.Module) -> None:
    """Check entries that mmengine's default constructor ignores silently.

    Args:
        optim_wrapper: config of an optimizer wrapper; not checked with another constructor.
        model: the model to train.

    Raises:
        ValueError: ``paramwise_cfg`` contains an unknown key, or ``custom_keys`` that match no
            parameter.
    """
    options = optim_wrapper.get('paramwise_cfg')
    if not options or optim_wrapper.get('constructor') not in _DEFAULT_CONSTRUCTORS:
        return
    check_keys(options, _DEFAULT_KEYS, 'mmengine\'s constructor')
    names = [name for name, _ in unwrap_model(model).named_parameters()]
    for part in options.get('custom_keys', {}):
        if not any(part in name for name in names):
            raise unknown_name('custom_keys', part, names)

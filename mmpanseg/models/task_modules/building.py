"""Assigners and match costs from their configs, refused by name where they cannot do the work."""
from typing import Sequence

from mmpanseg.models.task_modules.match_costs import MatchCost
from mmpanseg.registry import TASK_UTILS


def build_assigner(config: dict, kind: type, key: str = 'assigner') -> object:
    """An assigner of a criterion.

    Args:
        config: of the assigner; without a type that of ``kind`` is built.
        kind: class that the criterion works with.
        key: what the criterion calls it.

    Raises:
        TypeError: the config builds anything else.
    """
    assigner = TASK_UTILS.build(config, default_args=dict(type=f'mmpanseg.{kind.__name__}'))
    if not isinstance(assigner, kind):
        raise TypeError(
            f'criterion.{key} builds {_name(assigner)}, but what is needed here is '
            f'mmpanseg.{kind.__name__} or a class derived from it')
    return assigner


def build_costs(key: str, configs: Sequence[dict], inputs: type,
                missing: Sequence[str] = ()) -> list[MatchCost]:
    """Match costs of a criterion.

    Args:
        key: what the criterion calls them.
        configs: one of each cost.
        inputs: class of what the criterion gives them to read.
        missing: attributes of these inputs that are None at this stage.

    Raises:
        TypeError: one is no :class:`MatchCost`, or reads other inputs.
        ValueError: one reads what does not exist at this stage.
    """
    costs = [TASK_UTILS.build(config) for config in configs]
    for cost in costs:
        if not isinstance(cost, MatchCost) or cost.reads not in (None, inputs):
            raise TypeError(
                f'criterion.{key} has {_name(cost)}, which does not read what this criterion '
                f'compares ({inputs.__name__}); use costs of mmpanseg.models.task_modules that '
                'do, or derive one from MatchCost')
        absent = sorted(set(cost.needs) & set(missing))
        if absent:
            raise ValueError(f'criterion.{key} has {_name(cost)}, but there are no '
                             f'{" and ".join(absent)} at this stage; leave it out')
    return costs


def _name(built: object) -> str:
    return f'{type(built).__module__.split(".")[0]}.{type(built).__name__}'

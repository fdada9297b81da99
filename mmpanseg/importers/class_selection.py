"""Classes of the result: things, stuff, other names, classes that are left out."""
import difflib
from collections.abc import Sequence
from typing import NamedTuple

from mmpanseg.importers.source_image import SourceClass, SourceError

# class names that mean unlabeled pixels, in lower case
VOID_NAMES = ('void', 'unlabeled', 'unlabelled', 'ignore', 'ignored', 'unknown', 'out of roi',
              'ego vehicle', 'rectification border')


class ClassOptions(NamedTuple):
    """Options of the command line about classes; names are those after ``rename``.

    Args:
        things: names of thing classes; if only things are given, classes whose kind the source does
            not know are stuff.
        stuff: names of stuff classes.
        rename: pairs (name of the source, new name); two classes of one new name are merged.
        drop: names of classes whose pixels become unlabeled.
        background: stuff class of all unlabeled pixels; None: they stay void.
    """

    things: tuple[str, ...] = ()
    stuff: tuple[str, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()
    drop: tuple[str, ...] = ()
    background: str | None = None


class Selection(NamedTuple):
    """Chosen classes.

    Args:
        classes: entries of the JSONs: id from 1 in the order of the source, name, isthing, and
            color where the source has one.
        names: name in the source -> name in the result; None for classes that are left out.
        notes: one line for each class that is left out without being asked.
    """

    classes: list[dict]
    names: dict[str, str | None]
    notes: list[str]

    @property
    def things(self) -> frozenset[str]:
        return frozenset(entry['name'] for entry in self.classes if entry['isthing'])


def select_classes(found: Sequence[SourceClass], options: ClassOptions) -> Selection:
    """Choose the classes of the result.

    Args:
        found: classes of the source; of equal names the first counts.
        options: see :class:`ClassOptions`.

    Raises:
        SourceError: an option names a class that does not exist, or contradicts another one; no
            class is left.
    """
    rename = dict(options.rename)
    _check_names('--rename', rename, [item.name for item in found])
    names: dict[str, str | None] = {item.name: rename.get(item.name, item.name) for item in found}
    known = [name for name in names.values() if name is not None]
    for option, values in (('--things', options.things), ('--stuff', options.stuff),
                           ('--drop', options.drop)):
        _check_names(option, values, known)
    both = set(options.things) & set(options.stuff)
    if both:
        raise SourceError(f'--things and --stuff both name {sorted(both)[0]}; a class is one of '
                          'them')
    wanted = {*options.things, *options.stuff, options.background}
    notes = []
    kinds: dict[str, tuple[bool, tuple[int, int, int] | None]] = {}
    for item in found:
        name = str(names[item.name])
        if name in options.drop:
            names[item.name] = None
        elif name.lower() in VOID_NAMES and name not in wanted:
            names[item.name] = None
            notes.append(f'the class {name} is left out, since its name means unlabeled pixels; to '
                         f'keep it add --stuff {name}')
        else:
            kind = _is_thing(name, item, options)
            earlier = kinds.setdefault(name, (kind, item.color))
            if earlier[0] != kind:
                raise SourceError(f'the classes that are named {name} are things and stuff; give '
                                  f'--things {name} or --stuff {name}')
    if options.background is not None:
        if kinds.setdefault(options.background, (False, None))[0]:
            raise SourceError(f'--background {options.background} is a thing class; unlabeled '
                              'pixels can only be stuff')
    if not found:
        raise SourceError('no object and no class is annotated; is SRC the folder with the '
                          'annotations?')
    if not kinds:
        raise SourceError('no class is left: all are dropped or mean unlabeled pixels')
    classes = [dict(id=number, name=name, isthing=int(kind), **({'color': list(color)} if color
                                                                else {}))
               for number, (name, (kind, color)) in enumerate(kinds.items(), 1)]
    return Selection(classes, names, notes)


def _is_thing(name: str, item: SourceClass, options: ClassOptions) -> bool:
    if name in options.things or name in options.stuff:
        return name in options.things
    if name == options.background:
        return bool(item.is_thing)
    # where only some things are named, the others are stuff
    return item.is_thing if item.is_thing is not None else not options.things


def _check_names(option: str, values: Sequence[str] | dict, known: Sequence[str]) -> None:
    for value in values:
        if value not in known:
            near = difflib.get_close_matches(value, known, n=3, cutoff=0.4)
            some = near or list(known[:10])
            raise SourceError(
                f'{option} {value}: the source has no such class; '
                f'{"near names are" if near else "it has"} {", ".join(some)}'
                f'{", ..." if not near and len(known) > 10 else ""}')


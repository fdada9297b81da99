"""The contract of readers, and how they are found: ``formats/NAME.py`` is the format ``NAME``."""
import importlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, NamedTuple

from mmpanseg.importers.format_list import list_formats
from mmpanseg.importers.source_image import ImageContent, SourceClass, SourceError, SourceImage


class ReadOptions(NamedTuple):
    """Options of the command line that readers use; :attr:`Reader.options` names those of a format.

    Args:
        images: folder of the images, where it is not found beside the annotations.
        annotations: file or folder of the annotations, where it is not found in SRC.
        classes: file of class names, values and colors, see ``class_table.py``.
        things: names of classes that are things, of ``--things``; every format may read it.
        stuff_maps: folder of label maps, or a COCO JSON, of stuff.
        instances: folder of instance maps.
        instance_ids: coding of instance maps: ``per-class``, ``global``, ``channels`` or a number,
            the divisor of ``class * divisor + instance``.
        ignore: values of label maps that are unlabeled.
        label_suffix: ending of the names of label maps after the name of the image.
    """

    images: Path | None = None
    annotations: Path | None = None
    classes: Path | None = None
    things: tuple[str, ...] = ()
    stuff_maps: Path | None = None
    instances: Path | None = None
    instance_ids: str = 'per-class'
    ignore: tuple[int, ...] = (255, )
    label_suffix: str | None = None


class Reader(ABC):
    """Reads a source of one format. It is sent to worker processes, so it must be picklable.

    A file ``formats/NAME.py`` defines one subclass and ``READER = TheSubclass``. The first line of
    its module docstring is the help of the format.

    Class attributes:
        options: fields of :class:`ReadOptions` that the format uses; others are refused by name.
        ordered: objects have an order of layers, so that later ones cover earlier ones. Otherwise
            smaller objects cover larger ones.
        task: 'panoptic', or 'semantic' where the source never has objects.
        upright: annotations refer to the image after its EXIF orientation, where the sizes do not
            tell.

    Args:
        src: the folder or file of the source.
        options: see :class:`ReadOptions`.

    Raises:
        SourceError: the source has not this format; the text names what is missing.

    Attributes:
        notes: lines for the user about the source as a whole; :meth:`list_images` adds to them.
        scratch: folder that exists during the import only, set before :meth:`list_images`, which
            may create it and write to it.
        workers: number of processes that :meth:`list_images` may use.
    """

    options: ClassVar[tuple[str, ...]] = ()
    ordered: bool = False
    task: str = 'panoptic'
    upright: ClassVar[bool] = False

    def __init__(self, src: Path, options: ReadOptions) -> None:
        self.src, self.read_options = src, options
        self.scratch = Path()
        self.workers = 1
        self.notes: list[str] = []

    @abstractmethod
    def list_images(self) -> list[SourceImage]:
        """List all images of the source, in any order; called once, in the main process.

        Raises:
            SourceError: a file of the source is missing or wrong; the text names file and entry.
        """

    @abstractmethod
    def list_classes(self) -> list[SourceClass]:
        """List all classes in the order of the source; called after :meth:`list_images`."""

    @abstractmethod
    def read_image(self, image: SourceImage) -> ImageContent:
        """Read the annotation of an image; called in worker processes.

        Raises:
            SourceError: the annotation is missing or wrong; the text names file and object.
        """


def find_reader(name: str) -> type[Reader]:
    """Return the reader of a format.

    Raises:
        SourceError: there is no such format.
    """
    if name not in list_formats():
        raise SourceError(f'format {name!r} is none of {", ".join(list_formats())}')
    module = importlib.import_module(f'mmpanseg.importers.formats.{name.replace("-", "_")}')
    return module.READER

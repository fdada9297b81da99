"""Label maps (gray, palette or color-coded PNGs), as stuff or with components as things."""
from pathlib import Path

from mmpanseg.importers.class_table import thing_names
from mmpanseg.importers.image_folder import LABEL_FOLDERS, find_pairs
from mmpanseg.importers.label_maps import class_table, component_map, label_names, read_values
from mmpanseg.importers.reader import Reader
from mmpanseg.importers.source_image import ImageContent, SourceClass, SourceImage
from mmpanseg.structures.label_image import distinct_values


class SemanticReader(Reader):
    """Images and one label map for each.

    Without things the result has label maps too; with them (``--things``, or ``isthing`` in the
    file of classes) each 8-connected component of a thing class is an object.
    """

    options = ('images', 'annotations', 'classes', 'ignore', 'label_suffix')

    def list_images(self) -> list[SourceImage]:
        options = self.read_options
        pairs = find_pairs(self.src, [('label maps', LABEL_FOLDERS, options.annotations)],
                           options.images, options.label_suffix)
        folders = list(dict.fromkeys(pair.maps[0].parent for pair in pairs))
        self._table = class_table(self.src, options.classes, (pair.maps[0] for pair in pairs),
                                  folders[:1])
        self._things = thing_names(self._table, options.things)
        self.task = 'panoptic' if self._things else 'semantic'
        return [SourceImage(pair.name, pair.image, None, pair.split, data=pair.maps[0])
                for pair in pairs]

    def list_classes(self) -> list[SourceClass]:
        return [SourceClass(row.name, row.name in self._things, row.color) for row in self._table]

    def read_image(self, image: SourceImage) -> ImageContent:
        path: Path = image.data
        values = read_values(path, self._table)
        names = label_names(distinct_values(values), self._table, self.read_options.ignore, path)
        return ImageContent(base=component_map(values, names, self._things))


READER = SemanticReader

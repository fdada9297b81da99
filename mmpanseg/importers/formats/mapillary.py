"""Mapillary Vistas as downloaded: training/, validation/, config.json or config_v2.0.json."""
from pathlib import Path

from mmpanseg.datasets.converters.mapillary import VERSIONS, convert_mapillary
from mmpanseg.importers.panoptic_json import PanopticJsonReader
from mmpanseg.importers.source_image import SourceError

_SPLITS = ('training', 'validation')


class MapillaryReader(PanopticJsonReader):
    """Reads what :func:`mmpanseg.datasets.converters.convert_mapillary` makes.

    The packages of version 2.0 hold both versions; their newer one is taken.
    """

    def list_jsons(self) -> list[tuple[Path, Path, list[Path], str]]:
        splits = [split for split in _SPLITS if (self.src / split / 'images').is_dir()]
        if not splits:
            raise SourceError(f'{self.src} has no training/images/ or validation/images/ of '
                              'Mapillary Vistas')
        version = VERSIONS[(self.src / 'config_v2.0.json').is_file()]
        for split in splits:
            convert_mapillary(self.src, self.scratch, split, version, self.workers)
        names = {split: self.scratch / f'annotations/panoptic_{version}_{split}'
                 for split in splits}
        return [(folder.with_name(f'{folder.name}.json'), folder,
                 [self.src / split / 'images'], split) for split, folder in names.items()]


READER = MapillaryReader

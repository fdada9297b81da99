"""CamVid as downloaded: train/, trainannot/, ...; components of vehicles and people are things."""
from pathlib import Path

from mmpanseg.datasets.converters.camvid import convert_camvid
from mmpanseg.importers.panoptic_json import PanopticJsonReader
from mmpanseg.importers.source_image import SourceError

_SPLITS = ('train', 'val', 'test')


class CamvidReader(PanopticJsonReader):
    """Reads what :func:`mmpanseg.datasets.converters.convert_camvid` makes."""

    def list_jsons(self) -> list[tuple[Path, Path, list[Path], str]]:
        splits = [split for split in _SPLITS if (self.src / split).is_dir()]
        if not splits:
            raise SourceError(f'{self.src} has none of the folders {", ".join(_SPLITS)} of CamVid')
        for split in splits:
            convert_camvid(self.src, self.scratch, split, self.workers)
        return [(self.scratch / f'annotations/panoptic_{split}.json',
                 self.scratch / f'panoptic_{split}', [self.src / split], split)
                for split in splits]


READER = CamvidReader

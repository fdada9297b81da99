"""Ground truth of single images from a file in COCO's panoptic format."""
from collections.abc import Sequence
from pathlib import Path

from mmpanseg.apis.dataset_ids import AnnotationFile, DatasetIds
from mmpanseg.datasets.annotation_file import read_annotation_file, read_panoptic_annotations
from mmpanseg.evaluation.panoptic_quality import PanopticMap
from mmpanseg.results.comparison import void_unlisted
from mmpanseg.structures.panoptic_png import read_panoptic_png


class TruthMaps:
    """Ground truth of images, which are found by their file names.

    The PNGs are in the folder that has the name of the JSON without the ending, beside it or one
    folder above: ``annotations/panoptic_val2017.json`` with ``annotations/panoptic_val2017/`` or
    ``panoptic_val2017/``.

    Args:
        path: the JSON.
        classes: class names by label; segments of other classes are void.

    Raises:
        FileNotFoundError: the JSON or the folder does not exist.
        ValueError: the JSON is not in the panoptic format, or has none of the classes.
    """

    def __init__(self, path: str | Path, classes: Sequence[str]) -> None:
        self.path = str(path)
        if not Path(path).is_file():
            raise FileNotFoundError(f'{path} does not exist: give a JSON in the panoptic format')
        place = Path(path).absolute().with_suffix('')
        places = [place, place.parents[1] / place.name]
        found = [folder for folder in places if folder.is_dir()]
        if not found:
            raise FileNotFoundError(f'the PNGs of {path} are in none of {places[0]} and '
                                    f'{places[1]}: put the folder there')
        self.folder = found[0]
        content = read_annotation_file(self.path, ['images', 'categories', 'annotations'],
                                       'panoptic')
        self._ids = DatasetIds(classes, None, AnnotationFile(self.path, {}))
        labels = {name: label for label, name in enumerate(classes)}
        self._labels = {entry['id']: labels[entry['name']]
                        for entry in self._ids.content.get('categories', ())
                        if entry['name'] in labels}
        if not self._labels:
            raise ValueError(f'{path} has none of the classes {", ".join(classes[:5])}, ...')
        self._annotations = read_panoptic_annotations(self.path, content['annotations'])

    def lists(self, path: str) -> bool:
        """Whether there is an image with the file name of a path."""
        return self._ids.lists(path)

    def find(self, path: str, size: tuple[int, int]) -> PanopticMap | None:
        """Read the ground truth of an image.

        Args:
            path: of the image.
            size: (H, W) of the image.

        Returns:
            None if the file has no annotation of it.

        Raises:
            ValueError: the PNG is damaged, or has other segments than the JSON.
            OSError: the PNG cannot be read.
        """
        image = self._ids.image(path, size)
        annotation = None if image is None else self._annotations.get(image.id)
        if annotation is None:
            return None
        segments = [entry for entry in annotation['segments_info']
                    if entry['category_id'] in self._labels]
        file = self.folder / annotation['file_name']
        ids = void_unlisted(read_panoptic_png(file), {entry['id'] for entry in segments})
        return PanopticMap(
            ids, [entry['id'] for entry in segments],
            [self._labels[entry['category_id']] for entry in segments],
            [bool(entry.get('iscrowd', 0)) for entry in segments], name=str(file))

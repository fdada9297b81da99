"""Mapillary Vistas (Neuhold et al., ICCV 2017): street scenes all over the world."""
from typing import NamedTuple

from mmengine import fileio

from mmpanseg.datasets.panoptic import PanopticDataset
from mmpanseg.datasets.semantic import SemanticDataset
from mmpanseg.registry import DATASETS


class VistasLabel(NamedTuple):
    """A class, whose index in the list is its value in the files.

    Args:
        name: name.
        is_thing: thing or stuff.
        color: RGB, 0 .. 255.
        evaluated: False for classes that become void.
    """

    name: str
    is_thing: bool
    color: tuple[int, int, int]
    evaluated: bool = True


# version 1.2, values 0 .. 64; 65 is unlabeled
_STUFF_1_2 = (
    (2, 'Curb', (196, 196, 196)), (3, 'Fence', (190, 153, 153)),
    (4, 'Guard Rail', (180, 165, 180)), (5, 'Barrier', (90, 120, 150)),
    (6, 'Wall', (102, 102, 156)), (7, 'Bike Lane', (128, 64, 255)),
    (9, 'Curb Cut', (170, 170, 170)), (10, 'Parking', (250, 170, 160)),
    (11, 'Pedestrian Area', (96, 96, 96)), (12, 'Rail Track', (230, 150, 140)),
    (13, 'Road', (128, 64, 128)), (14, 'Service Lane', (110, 110, 110)),
    (15, 'Sidewalk', (244, 35, 232)), (16, 'Bridge', (150, 100, 100)),
    (17, 'Building', (70, 70, 70)), (18, 'Tunnel', (150, 120, 90)),
    (24, 'Lane Marking - General', (255, 255, 255)), (25, 'Mountain', (64, 170, 64)),
    (26, 'Sand', (230, 160, 50)), (27, 'Sky', (70, 130, 180)), (28, 'Snow', (190, 255, 255)),
    (29, 'Terrain', (152, 251, 152)), (30, 'Vegetation', (107, 142, 35)),
    (31, 'Water', (0, 170, 30)), (43, 'Pothole', (70, 100, 150)), (58, 'On Rails', (0, 80, 100)),
    (63, 'Car Mount', (32, 32, 32)), (64, 'Ego Vehicle', (120, 10, 10)))
_THINGS_1_2 = (
    (0, 'Bird', (165, 42, 42)), (1, 'Ground Animal', (0, 192, 0)),
    (8, 'Crosswalk - Plain', (140, 140, 200)), (19, 'Person', (220, 20, 60)),
    (20, 'Bicyclist', (255, 0, 0)), (21, 'Motorcyclist', (255, 0, 100)),
    (22, 'Other Rider', (255, 0, 200)), (23, 'Lane Marking - Crosswalk', (200, 128, 128)),
    (32, 'Banner', (255, 255, 128)), (33, 'Bench', (250, 0, 30)),
    (34, 'Bike Rack', (100, 140, 180)), (35, 'Billboard', (220, 220, 220)),
    (36, 'Catch Basin', (220, 128, 128)), (37, 'CCTV Camera', (222, 40, 40)),
    (38, 'Fire Hydrant', (100, 170, 30)), (39, 'Junction Box', (40, 40, 40)),
    (40, 'Mailbox', (33, 33, 33)), (41, 'Manhole', (100, 128, 160)),
    (42, 'Phone Booth', (142, 0, 0)), (44, 'Street Light', (210, 170, 100)),
    (45, 'Pole', (153, 153, 153)), (46, 'Traffic Sign Frame', (128, 128, 128)),
    (47, 'Utility Pole', (0, 0, 80)), (48, 'Traffic Light', (250, 170, 30)),
    (49, 'Traffic Sign (Back)', (192, 192, 192)), (50, 'Traffic Sign (Front)', (220, 220, 0)),
    (51, 'Trash Can', (140, 140, 20)), (52, 'Bicycle', (119, 11, 32)),
    (53, 'Boat', (150, 0, 255)), (54, 'Bus', (0, 60, 100)), (55, 'Car', (0, 0, 142)),
    (56, 'Caravan', (0, 0, 90)), (57, 'Motorcycle', (0, 0, 230)),
    (59, 'Other Vehicle', (128, 64, 64)), (60, 'Trailer', (0, 0, 110)),
    (61, 'Truck', (0, 0, 70)), (62, 'Wheeled Slow', (0, 0, 192)))

# value in the files of each label of the panoptic data set, things first
PANOPTIC_ORDER = tuple(row[0] for row in _THINGS_1_2 + _STUFF_1_2)

LABELS = tuple(VistasLabel(name, (value, name, color) in _THINGS_1_2, color)
               for value, name, color in sorted(_THINGS_1_2 + _STUFF_1_2))


def read_labels(config_file: str, backend_args: dict | None = None) -> tuple[VistasLabel, ...]:
    """Read the classes from the JSON of the data set, in the order of their values.

    Args:
        config_file: path of ``config.json``, ``config_v1.2.json`` or ``config_v2.0.json``.
        backend_args: arguments of mmengine's file backend; None for the file system.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file has another content; the text names it.
    """
    try:
        content = fileio.load(config_file, file_format='json', backend_args=backend_args)
        return tuple(
            VistasLabel(row['readable'], bool(row['instances']), tuple(row['color']),
                        bool(row['evaluate']))
            for row in content['labels'])
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{config_file} does not exist; it is in the main folder of '
                                'the download of Mapillary Vistas') from error
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{config_file} is not the JSON of Mapillary Vistas, which has "labels" with readable, '
            f'color, instances and evaluate: {type(error).__name__} {error}') from error


@DATASETS.register_module()
class MapillaryPanopticDataset(PanopticDataset):
    """Version 1.2, things first: 37 thing and 28 stuff classes.

    Reads the panoptic annotation of the download (``panoptic/panoptic_2018.json`` and PNGs), or the
    files that ``tools/dataset_converters/mapillary.py`` writes. For version 2.0 use
    :class:`PanopticDataset`, which reads the classes from ``panoptic_2020.json``.
    """

    METAINFO = dict(
        thing_classes=tuple(row[1] for row in _THINGS_1_2),
        stuff_classes=tuple(row[1] for row in _STUFF_1_2),
        classes=tuple(row[1] for row in _THINGS_1_2 + _STUFF_1_2),
        palette=[row[2] for row in _THINGS_1_2 + _STUFF_1_2])


@DATASETS.register_module()
class MapillarySemanticDataset(SemanticDataset):
    """The 65 classes of version 1.2 in the order of the files, where 65 is unlabeled.

    Args:
        config_file: path of the JSON of another version, relative to ``data_root``. Its evaluated
            classes replace those of version 1.2 in the metainfo once the data are loaded; all
            others are ignored.
    """

    METAINFO = dict(
        classes=tuple(label.name for label in LABELS),
        palette=[label.color for label in LABELS],
        ignore_index=65)

    def __init__(self, *args, config_file: str | None = None, **kwargs) -> None:
        self.config_file = config_file
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        if self.config_file:
            path = fileio.join_path(self.data_root or '.', self.config_file,
                                    backend_args=self.backend_args)
            labels = read_labels(path, self.backend_args)
            counted = [value for value, label in enumerate(labels) if label.evaluated]
            self._metainfo |= dict(
                classes=tuple(labels[value].name for value in counted),
                palette=[labels[value].color for value in counted],
                # beyond the values of the file, so that it is no label
                ignore_index=len(labels),
                label_map={value: len(labels) for value in range(len(labels))} | {
                    value: label for label, value in enumerate(counted)})
        return super().load_data_list()

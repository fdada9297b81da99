"""Hand-written work dirs."""
import json
from collections.abc import Iterable, Sequence
from pathlib import Path


def train(step: int, loss: float | None = 1.0, **more: object) -> dict:
    """A line of a training by steps, as mmengine's LoggerHook writes it."""
    return dict(lr=0.1, data_time=0.1, loss=loss, time=2.0, iter=step, step=step) | more


def val(step: int, pq: float, **more: object) -> dict:
    """A line of a validation."""
    return {'panoptic/PQ': pq, 'data_time': 0.1, 'time': 0.2, 'step': step} | more


def classes(step: int, pq: Sequence[float | None], names: Sequence[str] = ('ball', 'sky')) -> dict:
    return dict(step=step, prefix='panoptic', classes=list(names), things=[True, False],
                pq=list(pq))


def write_start(work_dir: Path, time: str, records: Iterable[dict | str],
                resumed: int | None = None, text_log: bool = True,
                class_records: Sequence[dict] = ()) -> Path:
    """Write the logs of one start; a string is a line as it is."""
    folder = work_dir / time / 'vis_data'
    folder.mkdir(parents=True)
    lines = [record if isinstance(record, str) else json.dumps(record) + '\n'
             for record in records]
    (folder / 'scalars.json').write_text(''.join(lines))
    if class_records:
        (folder / 'class_scores.json').write_text(
            ''.join(json.dumps(record) + '\n' for record in class_records))
    if text_log:
        head = [] if resumed is None else [
            f'01/01 00:00:00 - mmengine - INFO - resumed epoch: 0, iter: {resumed}']
        (work_dir / time / f'{time}.log').write_text('\n'.join([
            'System environment:', *head,
            '01/01 00:00:01 - mmengine - INFO - Iter(train) [ 10/100] loss: 1',
            'resumed epoch: 0, iter: 7']))
    return work_dir

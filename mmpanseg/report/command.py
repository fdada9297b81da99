"""A report from the arguments of a command line."""
from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from mmengine.config import Config

from mmpanseg.engine.command_line import UsageError
from mmpanseg.engine.launch import (
    check_checkpoint,
    check_device,
    check_model_config,
    load_config,
    merge_overrides,
)
from mmpanseg.hub.resolve import resolve_model
from mmpanseg.pages.own_folder import check_folder
from mmpanseg.report.comparison import compare
from mmpanseg.report.comparison_page import pictured_images, write_comparison_page
from mmpanseg.report.metrics import OtherMetrics, evaluators_of
from mmpanseg.report.model_run import ModelOptions, ModelRun
from mmpanseg.report.records import SUMMARY
from mmpanseg.report.run import (
    OWN_FILES,
    Progress,
    Report,
    ReportOptions,
    choose_images,
    make_report,
)
from mmpanseg.report.saved import PREDICTION_ENDINGS, open_predictions
from mmpanseg.report.source import Source
from mmpanseg.report.truth import Truth, truth_of_config, truth_of_json


@dataclass(frozen=True)
class ReportArguments:
    """Arguments of ``mmpanseg report``, see its help.

    Args:
        config: path of a config; or, without checkpoint and predictions, name of a model.
        checkpoint: file or URL.
        predictions: file or folder of saved predictions.
        predictions_folder: of the PNGs of a JSON.
        truth: panoptic JSON.
        truth_folder: of its PNGs.
        images: folder of its images.
        out: folder to write.
        compare: another report, predictions, checkpoint or model.
        compare_config: config of that checkpoint; by default ``config``.
        sample: number of images.
        seed: of the sample.
        boundary: also Boundary PQ.
        pictures: number of images with pictures; None: all.
        max_side: longest side of pictures in pixels.
        tta: test-time augmentation.
        device: of the model.
        strict_meta: refuse a checkpoint of other settings.
        cfg_options: entries that replace those of the config.
    """

    config: str | None = None
    checkpoint: str | None = None
    predictions: Path | None = None
    predictions_folder: Path | None = None
    truth: Path | None = None
    truth_folder: Path | None = None
    images: Path | None = None
    out: Path | None = None
    compare: Path | None = None
    compare_config: str | None = None
    sample: int | None = None
    seed: int = 0
    boundary: bool = False
    pictures: int | None = 200
    max_side: int = 1024
    tta: bool = False
    device: str | None = None
    strict_meta: bool = False
    cfg_options: dict | None = None


def run_report(arguments: ReportArguments,
               progress: Progress = lambda what, done, total: None) -> Report:
    """Make the report that a command line asks for.

    Args:
        arguments: see :class:`ReportArguments`.
        progress: see :func:`make_report`.

    Raises:
        UsageError: arguments are missing or contradict each other, or see :func:`make_report`.
    """
    _check(arguments)
    if arguments.compare is None:
        return _make(arguments, progress)
    check_folder(_folder(arguments), OWN_FILES)
    # the other one is first: what is wrong with it is said before the long work
    other = _other_report(arguments, progress)
    report = _make(arguments, progress, pictured_images(other))
    folder = report.page.parent
    comparison = compare(folder, other, arguments.seed)
    write_comparison_page(folder, comparison, other)
    return report._replace(comparison=comparison)


def _make(arguments: ReportArguments, progress: Progress,
          pictured: frozenset[int | str] = frozenset()) -> Report:
    """Make one report."""
    check_folder(_folder(arguments), OWN_FILES)
    cfg, name, checkpoint = _config_and_weights(arguments)
    origin: dict[str, str] = {}
    model: ModelRun | None = None
    if cfg is None:
        assert arguments.truth is not None
        truth = truth_of_json(arguments.truth, arguments.truth_folder, arguments.images)
        origin['truth'] = str(arguments.truth)
        evaluators = []
    else:
        origin['config'] = name
        if arguments.predictions is None:
            assert checkpoint is not None
            model = ModelRun(cfg, ModelOptions(checkpoint, arguments.tta, arguments.strict_meta,
                                               arguments.device))
            origin['checkpoint'] = checkpoint
        truth = truth_of_config(cfg, Path(name).name)
        evaluators = list(evaluators_of(cfg.get('test_evaluator')))
    numbers = choose_images(truth, arguments.sample, arguments.seed)
    source = _source(arguments, model, truth, numbers)
    if arguments.predictions is not None:
        origin['predictions'] = str(arguments.predictions)
    options = ReportOptions(
        _folder(arguments), _title(arguments), origin, arguments.sample, arguments.seed,
        arguments.boundary, arguments.pictures, arguments.max_side, _record(arguments), pictured)
    return make_report(truth, source, numbers, OtherMetrics(evaluators, truth.meta), options,
                       progress)


def _other_report(arguments: ReportArguments, progress: Progress) -> Path:
    """Find the report to compare with, or make it beside the other one: its folder."""
    other = arguments.compare
    assert other is not None
    if other.is_dir() and (other / SUMMARY).is_file():
        return other
    folder = _folder(arguments)
    made = replace(arguments, compare=None, out=folder.with_name(f'{folder.name}-other'))
    if other.is_dir() or other.suffix.lower() in PREDICTION_ENDINGS:
        made = replace(made, predictions=other, predictions_folder=None, checkpoint=None,
                       tta=False)
        if arguments.predictions is None and not Path(str(arguments.config)).is_file():
            raise UsageError('--compare with predictions needs the path of a CONFIG, and a '
                             'CHECKPOINT')
        _check(made)
    elif arguments.config is None:
        raise UsageError(f'--compare {other}: with --truth, name predictions or a report')
    elif arguments.compare_config is not None or Path(arguments.config).suffix == '.py':
        made = replace(made, config=arguments.compare_config or arguments.config,
                       checkpoint=str(other), predictions=None, predictions_folder=None)
    else:
        made = replace(made, config=str(other), checkpoint=None, predictions=None,
                       predictions_folder=None)
    return _make(made, progress).page.parent


def _check(arguments: ReportArguments) -> None:
    """Raise a UsageError for arguments that contradict each other."""
    if arguments.config is None and arguments.truth is None:
        raise UsageError('name a CONFIG with a CHECKPOINT, or --predictions with CONFIG or --truth')
    if arguments.config is not None and arguments.truth is not None:
        raise UsageError('--truth replaces the ground truth of a config: leave out one of them')
    if arguments.truth is None and (arguments.truth_folder or arguments.images):
        raise UsageError('--truth-folder and --images belong to --truth')
    if arguments.truth is not None and arguments.predictions is None:
        raise UsageError('--truth needs --predictions: a model runs on the test data of its config')
    if arguments.predictions_folder is not None and arguments.predictions is None:
        raise UsageError('--predictions-folder belongs to --predictions')
    if arguments.predictions is not None and arguments.checkpoint is not None:
        raise UsageError('--predictions replaces the model: leave out CHECKPOINT')
    if arguments.predictions is not None and arguments.tta:
        raise UsageError('--tta belongs to a model: leave it out with --predictions')
    if arguments.truth is not None and arguments.predictions is not None and (
            arguments.predictions.suffix in ('.pkl', '.pickle')):
        raise UsageError(f'{arguments.predictions} contains labels without names: give CONFIG in '
                         'place of --truth')
    if arguments.compare is not None and (
            _folder(arguments).resolve() == arguments.compare.resolve()):
        raise UsageError(f'--compare {arguments.compare} is the folder that this report is '
                         'written to: name another --out')
    if arguments.compare_config is not None and arguments.compare is None:
        raise UsageError('--compare-config belongs to --compare')
    check_device(arguments.device)


def _config_and_weights(arguments: ReportArguments) -> tuple[Config | None, str, str | None]:
    """Find config, its name, and weights."""
    if arguments.config is None:
        return None, '', None
    if arguments.checkpoint is not None or arguments.predictions is not None:
        cfg = load_config(arguments.config, arguments.cfg_options)
        if arguments.checkpoint is None:
            return cfg, arguments.config, None
        check_model_config(cfg, arguments.config, 'test_dataloader')
        return cfg, arguments.config, check_checkpoint(arguments.checkpoint, arguments.config)
    found = resolve_model(arguments.config)
    if found.weights is None:
        raise UsageError(f'{arguments.config} has no weights: name a CHECKPOINT, or --predictions')
    merge_overrides(found.cfg, arguments.cfg_options, found.name)
    check_model_config(found.cfg, found.name, 'test_dataloader')
    return found.cfg, found.name, found.weights


def _source(arguments: ReportArguments, model: ModelRun | None, truth: Truth,
            numbers: list[int]) -> Source:
    if model is None:
        assert arguments.predictions is not None
        return open_predictions(arguments.predictions, truth, numbers,
                                arguments.predictions_folder)
    model.use_classes(truth)
    return model


def _title(arguments: ReportArguments) -> str:
    """Name a report by its config and weights, or by its predictions."""
    results = arguments.checkpoint or arguments.predictions
    if arguments.config is None:
        return _name_of(arguments.predictions or Path())
    name = Path(arguments.config).stem
    return name if results is None else f'{name}, {_name_of(Path(results))}'


def _name_of(path: Path) -> str:
    """Name a file of results; one with a usual name by its folder."""
    while path.stem in ('panoptic', 'predictions', 'coco') and path.parent.name:
        path = path.parent
    return path.stem


def _folder(arguments: ReportArguments) -> Path:
    """Choose the folder to write."""
    if arguments.out is not None:
        return arguments.out
    source = arguments.config or arguments.predictions
    return Path('report') / _name_of(Path(str(source)))


def _record(arguments: ReportArguments) -> dict:
    """Return the options that figures and pictures depend on."""
    return dict(sample=arguments.sample, seed=arguments.seed, boundary=arguments.boundary,
                pictures=arguments.pictures, max_side=arguments.max_side, tta=arguments.tta,
                cfg_options={key: str(value) for key, value in (
                    arguments.cfg_options or {}).items()})

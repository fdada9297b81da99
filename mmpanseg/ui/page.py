"""The page, of gradio's components."""
from collections.abc import Iterator
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from mmpanseg.ui import examples
from mmpanseg.ui.limits import shown_name
from mmpanseg.ui.private_folder import inside, remove_files, remove_upload, take_file
from mmpanseg.ui.report_folders import ReportFolders
from mmpanseg.ui.rules import KNOBS, OWN, TITLES, default_values, fitting_rules
from mmpanseg.ui.session import Sessions
from mmpanseg.ui.workbench import Settings, Update, Workbench, safely, working

TASKS = (('Panoptic', 'panoptic'), ('Instances', 'instance'), ('Semantic', 'semantic'))
# events that use a model wait for each other; of a moved slider the last value counts
_ONE: dict[str, Any] = dict(concurrency_limit=1, concurrency_id='model', show_progress='hidden',
                            queue=True, api_visibility='private')
# of the viewer, together one function: names of one are known in the others
SCRIPTS = ('segment_map.js', 'viewer.js', 'uploads.js')
FONTS = ('system-ui', '-apple-system', 'Segoe UI', 'Roboto', 'sans-serif')
MONO = ('ui-monospace', 'Consolas', 'monospace')


@cache
def asset(name: str) -> str:
    """Read a file of the page.

    Args:
        name: such as viewer.js.
    """
    return (Path(__file__).parent / name).read_text(encoding='utf-8')


def theme() -> gr.themes.Base:
    """Colors and fonts of the page; the fonts are those of the system."""
    made = gr.themes.Base(primary_hue='blue', neutral_hue='slate', font=FONTS, font_mono=MONO,
                          radius_size='md')
    # gradio's own are too pale to read
    return made.set(body_text_color_subdued='*neutral_500', block_info_text_color='*neutral_500')


class Page:
    """Builds the page; every browser tab that opens it has a session of its own.

    Args:
        bench: predicts.
        sessions: of the open pages.
        reports: folders of the second tab.
        folder: the private one, for uploads.
        first: name of the model that is chosen at the start; it is loaded.
    """

    def __init__(self, bench: Workbench, sessions: Sessions, reports: ReportFolders, folder: Path,
                 first: str) -> None:
        self.bench, self.sessions, self.reports = bench, sessions, reports
        self.folder, self.first = folder, first
        self.predictor = bench.shelf.get(first)
        self.rule = fitting_rules(self.predictor)[0]

    def build(self) -> gr.Blocks:
        """Make the page."""
        with gr.Blocks(title='mmpanseg', analytics_enabled=False, fill_width=True,
                       delete_cache=(60, 300)) as page:
            with gr.Row(elem_id='top'):
                gr.HTML('<h1>mmpanseg</h1>', elem_id='title')
                gr.HTML(html_template=asset('theme.html'), css_template=asset('theme.css'),
                        js_on_load=asset('theme.js'), elem_id='theme')
            with gr.Tabs():
                with gr.Tab('Try a model', id='try'):
                    self._build_try()
                with gr.Tab('Reports', id='reports'):
                    self._build_reports(page)
            page.unload(self.close)
        return page

    def close(self, request: gr.Request) -> None:
        """Forget what a closed page had; with the last page all uploads are removed.

        Args:
            request: of the page.
        """
        self.sessions.close(str(request.session_hash))
        if not len(self.sessions):
            remove_files(self.folder)

    def _build_try(self) -> None:
        with gr.Row(equal_height=False, elem_id='work'):
            with gr.Column(min_width=280, elem_id='inputs'):
                with gr.Tabs():
                    with gr.Tab('Image'):
                        image = gr.Image(
                            sources=['upload', 'clipboard', 'webcam'], type='filepath',
                            label='Image', show_label=False, height=210, elem_id='source',
                            buttons=[], placeholder='Drop an image here\n- or -\nclick to choose')
                        # the path of what was uploaded, whatever it contains: the errors are ours
                        image.__dict__['preprocess'] = _uploaded_path
                    with gr.Tab('Video'):
                        limits = self.bench.limits
                        video = gr.File(
                            file_types=['video'], type='filepath', height=150, elem_id='video',
                            label=f'Video of at most {limits.seconds:g} s', show_label=True)
            with gr.Column(min_width=280, elem_id='controls'):
                model = gr.Dropdown(
                    [(one.title, one.name) for one in self.bench.shelf.choices.values()],
                    value=self.first, label='Model', filterable=len(self.bench.shelf.choices) > 8,
                    elem_id='model')
                task = gr.Radio(TASKS, value='panoptic', label='Task', elem_id='task',
                                visible=self.predictor.num_things > 0)
                self._build_knobs()
            with gr.Column(min_width=280, elem_id='result'):
                viewer = gr.HTML(
                    None, html_template=asset('viewer.html'), css_template=asset('viewer.css'),
                    js_on_load='\n'.join(map(asset, SCRIPTS)), elem_id='viewer',
                    examples=examples.COUNT, max_bytes=self.bench.limits.num_bytes)
        self.controls = [model, task, self.rule_choice, self.min_score, *self.all_knobs]
        self._connect(image, video, viewer, model, task)

    def _build_knobs(self) -> None:
        """Sliders and switches, of which those that apply are visible."""
        rules = fitting_rules(self.predictor)
        self.rule_choice = gr.Dropdown(
            _rule_choices(rules), value=self.rule, label='Fusion head', elem_id='rule',
            info='How masks become segments')
        self.groups: dict[str, gr.Column] = {}
        self.knobs: dict[str, list[Any]] = {}
        for rule, knobs in KNOBS.items():
            values = (default_values(self.predictor, rule) if rule in rules
                      else [knob.low if knob.high is not None else False for knob in knobs])
            with gr.Column(visible=rule == self.rule, elem_id=f'knobs-{rule}') as self.groups[rule]:
                self.knobs[rule] = [
                    gr.Checkbox(bool(value), label=knob.title, info=knob.info,
                                elem_id=f'{rule}-{knob.option}') if knob.high is None
                    else gr.Slider(
                        knob.low, knob.high, value, step=knob.step, label=knob.title,
                        info=knob.info, buttons=[],
                        elem_id=f'{rule}-{knob.option}' + ('' if knob.part is None else
                                                           ('-things', '-stuff')[knob.part]))
                    for knob, value in zip(knobs, values)]
        self.all_knobs = [one for knobs in self.knobs.values() for one in knobs]
        self.min_score = gr.Slider(0, 1, 0.3, step=0.01, label='Score', buttons=[],
                                   info='least score of an instance', visible=False,
                                   elem_id='min-score')
        self.note = gr.Markdown('A semantic map has no thresholds.', visible=False)
        self.reset = gr.Button('Values of the model', size='sm', elem_id='reset')

    def _connect(self, image: Any, video: Any, viewer: Any, model: Any, task: Any) -> None:
        """Say which function answers which control."""
        own = [self.rule_choice, *self.groups.values(), self.min_score, self.note, self.reset]
        image.input(self.image, [image, *self.controls], [viewer, image], **_ONE)
        video.upload(self.video, [video, *self.controls], [viewer, video], **_ONE)
        viewer.dropped_image(self.dropped_image, self.controls, [viewer, image], **_ONE)
        viewer.dropped_video(self.dropped_video, self.controls, [viewer, video], **_ONE)
        viewer.example(self.example, self.controls, viewer, **_ONE)
        model.input(self.choose_model, self.controls,
                    [viewer, task, *own, *self.all_knobs], **_ONE)
        for control in (task, self.rule_choice):
            control.input(self.show_knobs, [task, self.rule_choice], own, queue=False,
                          show_progress='hidden', api_visibility='private')
            control.input(self.fuse, self.controls, viewer, trigger_mode='always_last', **_ONE)
        for knob in (self.min_score, *self.all_knobs):
            knob.input(self.fuse, self.controls, viewer, trigger_mode='always_last', **_ONE)
        self.reset.click(self.reset_knobs, self.controls, [viewer, *self.all_knobs], **_ONE)

    def settings(self, values: tuple) -> Settings:
        """Read the controls.

        Args:
            values: of the controls, in their order.
        """
        model, task, rule, min_score, *knobs = values
        start = 0
        for name, own in self.knobs.items():
            if name == rule:
                return Settings(model, task, rule, knobs[start:start + len(own)], min_score)
            start += len(own)
        return Settings(model, task, OWN, (), min_score)

    def image(self, request: gr.Request, path: str | None, *values: Any) -> Iterator[tuple]:
        """Predict an uploaded image."""
        if path is None:
            return
        name = shown_name(path)

        def steps() -> Iterator[Update]:
            yield working(f'Reading {name}')
            self.bench.limits.check_bytes(inside(path, self.folder).stat().st_size, name)
            data = take_file(path, self.folder)
            yield from self.bench.predict_image(
                self.sessions.open(str(request.session_hash)), self.settings(values), data, name)

        # without its image the control takes the next one
        for update in safely(steps()):
            yield update, None
        remove_upload(inside(path, self.folder), self.folder)

    def video(self, request: gr.Request, path: str | None, *values: Any) -> Iterator[tuple]:
        """Predict an uploaded video."""
        if path is None:
            return
        file = inside(path, self.folder)
        try:
            for update in safely(self.bench.predict_video(
                    self.sessions.open(str(request.session_hash)), self.settings(values), file,
                    shown_name(path))):
                yield update, None
        finally:
            remove_upload(file, self.folder)

    def dropped_image(self, request: gr.Request, event: gr.EventData,
                      *values: Any) -> Iterator[tuple]:
        """Predict an image that the viewer sent."""
        yield from self.image(request, str(event._data['path']), *values)

    def dropped_video(self, request: gr.Request, event: gr.EventData,
                      *values: Any) -> Iterator[tuple]:
        """Predict a video that the viewer sent."""
        yield from self.video(request, str(event._data['path']), *values)

    def example(self, request: gr.Request, event: gr.EventData,
                *values: Any) -> Iterator[Update]:
        """Predict an example image."""
        number = int(event._data['number'])
        yield from safely(self.bench.predict_image(
            self.sessions.open(str(request.session_hash)), self.settings(values),
            examples.example(number), f'example{number + 1}.png'))

    def fuse(self, request: gr.Request, *values: Any) -> Iterator[Update]:
        """Compute the segments anew."""
        session = self.sessions.open(str(request.session_hash))
        yield from safely(self.bench.fuse(session, self.settings(values)))

    def choose_model(self, request: gr.Request, *values: Any) -> Iterator[tuple]:
        """Load another model, set its thresholds, and predict the image of the page."""
        count = 1 + 1 + len(self.groups) + 3 + len(self.all_knobs)
        keep = [gr.skip()] * count
        settings = self.settings(values)
        session = self.sessions.open(str(request.session_hash))

        def load() -> Iterator[Update]:
            yield working(f'Loading {settings.model}')
            self.bench.shelf.get(settings.model)

        for update in safely(load()):
            yield update, *keep
            if update['state'] == 'error':
                return
        predictor = self.bench.shelf.get(settings.model)
        rules = fitting_rules(predictor)
        task = settings.task if predictor.num_things else 'semantic'
        defaults = {rule: default_values(predictor, rule) for rule in rules}
        knobs: list[Any] = []
        for rule, own in self.knobs.items():
            knobs += [gr.update(value=value) for value in defaults[rule]] if rule in defaults else (
                [gr.skip()] * len(own))
        shown = self.show_knobs(task, rules[0])
        shown[0] = gr.update(choices=_rule_choices(rules), value=rules[0],
                             visible=task == 'panoptic')
        yield (dict(state='done'), gr.update(value=task, visible=predictor.num_things > 0), *shown,
               *knobs)
        keep = [gr.skip()] * count
        chosen = Settings(settings.model, task, rules[0], defaults[rules[0]], settings.min_score)
        for update in safely(self.bench.predict_again(session, chosen)):
            yield update, *keep

    def show_knobs(self, task: str, rule: str) -> list:
        """Show the controls that apply."""
        panoptic = task == 'panoptic'
        return [gr.update(visible=panoptic),
                *(gr.update(visible=panoptic and name == rule) for name in self.groups),
                gr.update(visible=task == 'instance'), gr.update(visible=task == 'semantic'),
                gr.update(visible=panoptic)]

    def reset_knobs(self, request: gr.Request, *values: Any) -> Iterator[tuple]:
        """Set the thresholds of a rule back to those of the model."""
        settings = self.settings(values)
        session = self.sessions.open(str(request.session_hash))
        defaults = default_values(self.bench.shelf.get(settings.model), settings.rule)
        updates: list[Any] = []
        for rule, own in self.knobs.items():
            updates += ([gr.update(value=value) for value in defaults] if rule == settings.rule
                        else [gr.skip()] * len(own))
        chosen = Settings(settings.model, settings.task, settings.rule, defaults,
                          settings.min_score)
        yield gr.skip(), *updates
        for update in safely(self.bench.fuse(session, chosen)):
            yield update, *([gr.skip()] * len(updates))

    def _build_reports(self, page: gr.Blocks) -> None:
        found = self.reports.list()
        choice = gr.Dropdown([(one.title, one.key) for one in found], label='Report',
                             value=found[0].key if found else None, elem_id='report',
                             visible=len(found) > 1)
        frame = gr.HTML(report_frame(found[0].key if found else None), elem_id='report-frame')
        choice.input(report_frame, choice, frame, queue=False, show_progress='hidden',
                     api_visibility='private')

        def look() -> Any:
            """Find the reports that were written since the server started."""
            now = self.reports.list()
            return gr.update(choices=[(one.title, one.key) for one in now], visible=len(now) > 1)

        page.load(look, None, choice, queue=False, show_progress='hidden',
                  api_visibility='private')


def report_frame(key: str | None) -> str:
    """Frame with the page of a report, whose scripts reach nothing else.

    Args:
        key: of the report; None if there is none.
    """
    if key is None:
        return ('<div class="none"><p>No report yet.</p><p>Write one with <code>mmpanseg report '
                'CONFIG CHECKPOINT --out DIR</code>, then start <code>mmpanseg ui --report DIR'
                '</code>, or <code>--reports PARENT</code> for several.</p></div>')
    return (f'<iframe title="Report" sandbox="allow-scripts allow-downloads" '
            f'src="app/report/{escape(key, quote=True)}/"></iframe>')


def _uploaded_path(payload: Any) -> str | None:
    return None if payload is None else payload.path


def _rule_choices(rules: list[str]) -> list[tuple[str, str]]:
    return [(TITLES.get(rule, 'The model\'s own'), rule) for rule in rules]

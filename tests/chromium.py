"""A headless Chromium for tests, driven as a person would: clicks, keys, files, pictures.

A test takes the fixture ``chromium`` of tests/conftest.py, which skips it where there is none::

    @pytest.mark.slow
    def test_search(chromium, tmp_path):
        with chromium.open((tmp_path / 'index.html').as_uri(), size=(390, 844)) as page:
            page.click('#search')
            page.type('bus')
            page.press('Enter')
            page.wait_for('document.querySelectorAll(".card").length == 2')
            page.click('button', text='Next')       # the first visible button with that text
            page.hover('#map', at=(0.25, 0.5))      # a quarter from its left, half of its height
            page.upload('input[type=file]', tmp_path / 'bus.jpg')
            saved = page.download(lambda: page.click('#save'))
            page.screenshot(tmp_path / 'page.png')
            assert page.text('#status') == '2 images'
            assert page.evaluate('innerWidth') == 390
            assert page.errors == [] and page.requests_elsewhere == []

Every wait ends with a TimeoutError that tells what was waited for, what the page shows, and its
errors. Events of mouse and keys are the browser's own, so an element that something covers cannot
be clicked. Nothing outside the machine can be reached: names of hosts are not resolved. Speaks the
DevTools protocol over two pipes, so no port, driver or package is needed.
"""
import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BROWSER = next(filter(None, map(shutil.which, (
    'chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome'))), None)

OPTIONS = (
    '--headless', '--remote-debugging-pipe', '--no-sandbox', '--disable-gpu', '--no-first-run',
    '--disable-dev-shm-usage', '--disable-background-networking', '--disable-component-update',
    '--disable-extensions', '--disable-sync', '--no-proxy-server', '--lang=en-US',
    '--force-color-profile=srgb', '--hide-scrollbars', '--disable-features=Translate',
    # throttled timers of pages in the background would slow tests that open several
    '--disable-background-timer-throttling', '--disable-renderer-backgrounding',
    '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost',
    # a camera that shows a moving pattern, and that needs no permission
    '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream')

# makes the pipes' ends the descriptors 3 and 4, which the protocol wants
LAUNCH = """
import os, sys
read, write = (os.dup(os.dup(int(number))) for number in sys.argv[1:3])
read, write = os.dup2(read, 90), os.dup2(write, 91)
os.dup2(read, 3), os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
KEYS = {  # name: code of Windows, text
    'Enter': (13, '\r'), 'Escape': (27, ''), 'Tab': (9, ''), 'Backspace': (8, ''),
    'Delete': (46, ''), 'Home': (36, ''), 'End': (35, ''), 'PageUp': (33, ''),
    'PageDown': (34, ''), 'ArrowLeft': (37, ''), 'ArrowUp': (38, ''), 'ArrowRight': (39, ''),
    'ArrowDown': (40, ''), ' ': (32, ' ')}

# the visible elements of a selector and text; the nth is scrolled into view
FIND = """
((selector, text, nth) => {
  const found = [...document.querySelectorAll(selector)].filter(e => e.getClientRects().length
    && getComputedStyle(e).visibility !== 'hidden'
    && (text === null || (e.innerText ?? e.textContent ?? '').includes(text)))[nth];
  if (!found) return null;
  found.scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'});
  return found;
})"""


class Chromium:
    """One browser process with a profile of its own; see the module for the use.

    Args:
        folder: for its profile and downloads.
        timeout: seconds that a command or a wait may take.
    """

    def __init__(self, folder: Path, timeout: float = 30) -> None:
        assert BROWSER is not None, 'no chromium on this machine'
        self.folder, self.timeout = folder, timeout
        self.messages = threading.Condition()
        self.replies: dict[int, dict] = {}
        self.events: list[dict] = []
        self.numbers = itertools.count(1)
        self.ended = False
        folder.mkdir(parents=True, exist_ok=True)
        their_read, self.write = os.pipe()
        self.read, their_write = os.pipe()
        self.log = (folder / 'stderr.txt').open('wb')
        self.process = subprocess.Popen(
            [sys.executable, '-S', '-c', LAUNCH, str(their_read), str(their_write), BROWSER,
             *OPTIONS, f'--user-data-dir={folder / "profile"}', 'about:blank'],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            pass_fds=(their_read, their_write), start_new_session=True)
        os.close(their_read)
        os.close(their_write)
        self.reader = threading.Thread(target=self._receive, daemon=True)
        self.reader.start()
        self.version = self.send('Browser.getVersion')['product']

    def _receive(self) -> None:
        """Sort what the browser says into replies and events, until it ends."""
        rest = b''
        while chunk := os.read(self.read, 1 << 20):
            *whole, rest = (rest + chunk).split(b'\0')
            with self.messages:
                for message in map(json.loads, whole):
                    if 'id' in message:
                        self.replies[message['id']] = message
                    else:
                        self.events.append(message)
                self.messages.notify_all()
        with self.messages:
            self.ended = True
            self.messages.notify_all()

    def send(self, method: str, session: str | None = None, **params: Any) -> dict:
        """Result of a command of the protocol; params of None are left out."""
        number = next(self.numbers)
        message = dict(id=number, method=method, params={
            key: value for key, value in params.items() if value is not None})
        if session:
            message['sessionId'] = session
        os.write(self.write, json.dumps(message).encode() + b'\0')
        with self.messages:
            if not self.messages.wait_for(
                    lambda: number in self.replies or self.ended, self.timeout):
                raise TimeoutError(f'{method}: no answer in {self.timeout} s')
            if number not in self.replies:
                log = (self.folder / 'stderr.txt').read_text(errors='replace')
                raise RuntimeError(f'{BROWSER} has ended: {log[-2000:]}')
            reply = self.replies.pop(number)
        if 'error' in reply:
            raise RuntimeError(f'{method}: {reply["error"]["message"]}')
        return reply['result']

    @contextlib.contextmanager
    def open(self, address: str, size: tuple[int, int] = (1280, 800), dark: bool = False,
             phone: bool = False, scale: float = 1) -> Iterator['Page']:
        """A page in a profile of its own, closed at the end.

        Args:
            address: to open.
            size: of the view, width and height in CSS pixels.
            dark: whether the system asks for dark pages.
            phone: whether the device is a phone: viewport tag, touch.
            scale: pixels of a screenshot for one CSS pixel.
        """
        context = self.send('Target.createBrowserContext')['browserContextId']
        try:
            target = self.send('Target.createTarget', url='about:blank',
                               browserContextId=context)['targetId']
            session = self.send('Target.attachToTarget', targetId=target,
                                flatten=True)['sessionId']
            page = Page(self, session, context)
            page.resize(size, phone, scale)
            page.use_theme(dark)
            page.go(address)
            yield page
        finally:
            self.send('Target.disposeBrowserContext', browserContextId=context)

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(RuntimeError, TimeoutError, OSError):
            self.send('Browser.close')
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.write)
        self.reader.join(5)
        os.close(self.read)
        self.log.close()


class Page:
    """One tab; made by :meth:`Chromium.open`."""

    def __init__(self, browser: Chromium, session: str, context: str) -> None:
        self.browser, self.session, self.context = browser, session, context
        self.mouse = (0.0, 0.0)
        self.downloads = browser.folder / f'downloads-{context}'
        for domain in ('Page', 'Runtime', 'Network', 'Log', 'DOM'):
            self.send(f'{domain}.enable')
        browser.send('Browser.setDownloadBehavior', behavior='allowAndName',
                     browserContextId=context, downloadPath=str(self.downloads),
                     eventsEnabled=True)

    def send(self, method: str, **params: Any) -> dict:
        """Result of a command of the protocol to this page."""
        return self.browser.send(method, self.session, **params)

    # ---- what the page does

    def events(self, method: str) -> list[dict]:
        """Parameters of the events of one name so far."""
        with self.browser.messages:
            return [event['params'] for event in self.browser.events
                    if event.get('sessionId') == self.session and event['method'] == method]

    @property
    def errors(self) -> list[str]:
        """Uncaught exceptions, errors in the console, and resources that failed to load."""
        thrown = [event['exceptionDetails'] for event in self.events('Runtime.exceptionThrown')]
        said = [event for event in self.events('Runtime.consoleAPICalled')
                if event['type'] in ('error', 'assert')]
        logged = [event['entry'] for event in self.events('Log.entryAdded')]
        return [
            *(error.get('exception', {}).get('description', error['text']) for error in thrown),
            *(' '.join(str(arg.get('value', arg.get('description', ''))) for arg in event['args'])
              for event in said),
            *(f"{entry['text']} {entry.get('url', '')}".strip() for entry in logged
              if entry['level'] == 'error')]

    @property
    def requests(self) -> list[str]:
        """Addresses of all requests, without data: and blob: addresses."""
        addresses = [event['request']['url']
                     for event in self.events('Network.requestWillBeSent')]
        return [address for address in addresses if not address.startswith(('data:', 'blob:'))]

    @property
    def requests_elsewhere(self) -> list[str]:
        """Requests that are neither for files of this machine nor for its servers."""
        return [address for address in self.requests if not address.startswith(
            ('file:', 'http://127.0.0.1', 'http://localhost', 'ws://127.0.0.1', 'ws://localhost',
             'about:'))]

    def evaluate(self, expression: str) -> Any:
        """Value of an expression of JavaScript; promises are awaited, exceptions raised."""
        result = self.send('Runtime.evaluate', expression=expression, awaitPromise=True,
                           returnByValue=True, userGesture=True)
        if 'exceptionDetails' in result:
            details = result['exceptionDetails']
            raise RuntimeError(details.get('exception', {}).get('description', details['text']))
        return result['result'].get('value')

    def wait_for(self, condition: str | Callable[[], Any], timeout: float | None = None) -> Any:
        """Wait until an expression of JavaScript, or a function, is true; returns its value."""
        end = time.monotonic() + (timeout or self.browser.timeout)
        while True:
            value = condition() if callable(condition) else self.evaluate(
                # as values of the protocol, elements would be empty
                f'Promise.resolve({condition}).then(v => v instanceof Node ? true : v)')
            if value:
                return value
            if time.monotonic() > end:
                shown = self.evaluate('document.body?.innerText ?? ""')
                raise TimeoutError(f'not true in time: {condition}\nerrors: {self.errors}\n'
                                   f'the page shows: {shown[:2000]}')
            time.sleep(0.03)

    def text(self, selector: str) -> str:
        """The text that the first element of a selector shows."""
        return self.evaluate(f'document.querySelector({json.dumps(selector)}).innerText')

    def count(self, selector: str) -> int:
        """Number of visible elements of a selector."""
        return self.evaluate(f'[...document.querySelectorAll({json.dumps(selector)})]'
                             '.filter(e => e.getClientRects().length).length')

    def screenshot(self, path: Path | str, whole: bool = False) -> Path:
        """Write a PNG of the view, or of the whole page."""
        picture = self.send('Page.captureScreenshot', format='png',
                            captureBeyondViewport=whole, clip=self._whole() if whole else None)
        Path(path).write_bytes(base64.b64decode(picture['data']))
        return Path(path)

    def _whole(self) -> dict:
        size = self.send('Page.getLayoutMetrics')['cssContentSize']
        return dict(x=0, y=0, width=size['width'], height=size['height'], scale=1)

    # ---- what a person does

    def go(self, address: str) -> None:
        """Open an address and wait until it is loaded; also for a change of the part after #."""
        loads = len(self.events('Page.loadEventFired'))
        result = self.send('Page.navigate', url=address)
        if 'errorText' in result:
            raise RuntimeError(f'{address}: {result["errorText"]}')
        if 'loaderId' in result:
            self.wait_for(lambda: len(self.events('Page.loadEventFired')) > loads)

    def resize(self, size: tuple[int, int], phone: bool = False, scale: float = 1) -> None:
        """Change the size of the view; see :meth:`Chromium.open`."""
        self.send('Emulation.setDeviceMetricsOverride', width=size[0], height=size[1],
                  deviceScaleFactor=scale, mobile=phone)
        self.send('Emulation.setTouchEmulationEnabled', enabled=phone)

    def use_theme(self, dark: bool) -> None:
        """Make the system ask for dark or light pages."""
        self.send('Emulation.setEmulatedMedia', features=[dict(
            name='prefers-color-scheme', value='dark' if dark else 'light')])

    def place(self, selector: str, text: str | None = None, nth: int = 0,
              at: tuple[float, float] = (0.5, 0.5)) -> tuple[float, float]:
        """Wait for a visible element, scroll to it; its point ``at``, in CSS pixels of the view.

        Args:
            selector: CSS.
            text: only elements that show this text.
            nth: which of them, from 0.
            at: shares of its width and height.
        """
        find = f'{FIND}({json.dumps(selector)}, {json.dumps(text)}, {nth})'
        box = f'(b => b && [b.x, b.y, b.width, b.height])({find}?.getBoundingClientRect())'
        before = None
        end = time.monotonic() + self.browser.timeout
        # an element that still moves would be missed
        while (found := self.evaluate(box)) is None or found != before:
            if time.monotonic() > end:
                raise TimeoutError(f'no still element {selector!r} with text {text!r}; errors: '
                                   f'{self.errors}; the page shows: '
                                   f'{self.evaluate("document.body.innerText")[:2000]}')
            before = found
            time.sleep(0.03)
        x, y, width, height = found
        return x + at[0] * width, y + at[1] * height

    def hover(self, selector: str, text: str | None = None, nth: int = 0,
              at: tuple[float, float] = (0.5, 0.5)) -> None:
        """Move the mouse to an element; arguments of :meth:`place`."""
        self.move(*self.place(selector, text, nth, at))

    def move(self, x: float, y: float) -> None:
        """Move the mouse to a point of the view, in CSS pixels."""
        self.mouse = (x, y)
        self._mouse('mouseMoved')

    def _mouse(self, kind: str, **params: Any) -> None:
        self.send('Input.dispatchMouseEvent', type=kind, x=self.mouse[0], y=self.mouse[1],
                  **params)

    def click(self, selector: str, text: str | None = None, nth: int = 0,
              at: tuple[float, float] = (0.5, 0.5)) -> None:
        """Click on an element; arguments of :meth:`place`.

        Raises:
            RuntimeError: another element covers it.
        """
        x, y = self.place(selector, text, nth, at)
        top = self.evaluate(f"""(() => {{
          const e = {FIND}({json.dumps(selector)}, {json.dumps(text)}, {nth});
          const top = document.elementFromPoint({x}, {y});
          return !top || e.contains(top) || top.contains(e) || e.labels && [...e.labels].some(
            l => l.contains(top)) ? null : top.outerHTML.slice(0, 200); }})()""")
        if top:
            raise RuntimeError(f'{selector!r} is covered by {top}')
        self.move(x, y)
        self.press_mouse()

    def press_mouse(self, to: tuple[float, float] | None = None) -> None:
        """Click where the mouse is, or drag from there to a point of the view."""
        self._mouse('mousePressed', button='left', buttons=1, clickCount=1)
        if to is not None:
            start = self.mouse
            for step in (0.25, 0.5, 0.75, 1):
                self.mouse = tuple(a + step * (b - a) for a, b in zip(start, to))
                self._mouse('mouseMoved', button='left', buttons=1)
        self._mouse('mouseReleased', button='left', buttons=0, clickCount=1)

    def drag(self, selector: str, start: tuple[float, float], stop: tuple[float, float]) -> None:
        """Drag inside an element from one point to another, shares of its width and height."""
        end = self.place(selector, at=stop)
        self.move(*self.place(selector, at=start))
        self.press_mouse(end)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        for letter in text:
            self.press(letter)

    def press(self, key: str, shift: bool = False) -> None:
        """Press a key: a letter, or a name such as 'ArrowRight', 'Escape', 'Enter'."""
        code, text = KEYS.get(key, (ord(key.upper()) if len(key) == 1 else 0, key))
        params = dict(key=key, windowsVirtualKeyCode=code, modifiers=8 * shift,
                      code=key if key in KEYS else None)
        self.send('Input.dispatchKeyEvent', type='keyDown' if text else 'rawKeyDown',
                  text=text or None, **params)
        self.send('Input.dispatchKeyEvent', type='keyUp', **params)

    def upload(self, selector: str, *paths: Path | str) -> None:
        """Choose files for an <input type=file>, which may be hidden."""
        self.wait_for(f'document.querySelector({json.dumps(selector)})')
        root = self.send('DOM.getDocument')['root']['nodeId']
        node = self.send('DOM.querySelector', nodeId=root, selector=selector)['nodeId']
        self.send('DOM.setFileInputFiles', nodeId=node, files=[str(path) for path in paths])

    def set_slider(self, selector: str, value: float) -> None:
        """Give an <input type=range> (or number) a value, as a release of its handle does."""
        self.wait_for(f'document.querySelector({json.dumps(selector)})')
        self.evaluate(f"""(() => {{
          const e = document.querySelector({json.dumps(selector)});
          Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(
            e, '{value}');
          for (const name of ['input', 'change', 'pointerup'])
            e.dispatchEvent(new Event(name, {{bubbles: true}})); }})()""")

    def paste(self, path: Path | str, selector: str = 'body', type: str = 'image/png') -> None:
        """Paste a file as from the clipboard."""
        self._hand_over(path, selector, type, """
          e.dispatchEvent(new ClipboardEvent('paste', {
            clipboardData: data, bubbles: true, cancelable: true}));""")

    def drop(self, path: Path | str, selector: str = 'body', type: str = 'image/png') -> None:
        """Drop a file on the first element of a selector."""
        self._hand_over(path, selector, type, """
          for (const name of ['dragenter', 'dragover', 'drop'])
            e.dispatchEvent(new DragEvent(name, {
              dataTransfer: data, bubbles: true, cancelable: true}));""")

    def _hand_over(self, path: Path | str, selector: str, type: str, action: str) -> None:
        """Do something with an element e and with data, a DataTransfer of a file."""
        content = base64.b64encode(Path(path).read_bytes()).decode()
        self.wait_for(f'document.querySelector({json.dumps(selector)})')
        self.evaluate(f"""(() => {{
          const bytes = Uint8Array.from(atob('{content}'), c => c.charCodeAt(0));
          const data = new DataTransfer(), e = document.querySelector({json.dumps(selector)});
          data.items.add(new File([bytes], {json.dumps(Path(path).name)}, {{type: '{type}'}}));
          {action} }})()""")

    def download(self, action: Callable[[], None]) -> Path:
        """Do something that makes the page save a file; the file, with the name it was given."""
        def begun() -> list[dict]:
            with self.browser.messages:
                return [event['params'] for event in self.browser.events
                        if event['method'] == 'Browser.downloadWillBegin']

        def state(guid: str) -> str:
            with self.browser.messages:
                return next((event['params']['state'] for event in reversed(self.browser.events)
                             if event['method'] == 'Browser.downloadProgress'
                             and event['params']['guid'] == guid), '')

        before = len(begun())
        action()
        started = self.wait_for(lambda: begun()[before:])[0]
        self.wait_for(lambda: state(started['guid']) in ('completed', 'canceled'))
        assert state(started['guid']) == 'completed', started
        target = self.downloads / Path(started['suggestedFilename']).name
        return (self.downloads / started['guid']).replace(target)

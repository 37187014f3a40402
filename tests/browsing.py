"""Pages in a real browser: Chromium without a screen, spoken to over the Chrome DevTools Protocol."""

import asyncio
import base64
import itertools
import json
import os
import re
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

PROJECT = Path(__file__).parents[1]

SCREENSHOTS: Final = PROJECT / "build" / "screenshots"
"""Kept to be looked at, and by CI systems as artefacts."""

_NAMES: Final = ("chromium-headless-shell", "chromium", "google-chrome")
_OPTIONS: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # pages have all that they need
)

Theme = Literal["light", "dark"]


class Tab:
    """A page in a browser. ``complaints`` is all that went to its console, and every exception and refused request."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self.complaints: list[str] = []

    async def open(self, page: str, width: int = 1280, theme: Theme = "light") -> None:
        """Open an address in a window that is so many pixels wide, until all of it is there."""
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        await self.call("Emulation.setDeviceMetricsOverride", **size)
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        self._loaded.clear()
        await self.call("Page.navigate", url=page)
        await self._loaded.wait()

    async def value(self, expression: str) -> Any:
        """What an expression of JavaScript comes to in the page."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def point(self, selector: str, across: float) -> None:
        """Move the pointer over the first such element, to a part of its width, and wait for the next picture."""
        found = f"document.querySelector({json.dumps(selector)})"
        await self.value(f"{found}.scrollIntoView({{block: 'center'}})")
        box = await self.value(
            f"(({{left, top, width, height}}) => [left, top, width, height])({found}.getBoundingClientRect())"
        )
        left, top, width, height = box
        await self.call("Input.dispatchMouseEvent", type="mouseMoved", x=left + across * width, y=top + height / 2)
        await self.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    async def type(self, selector: str, text: str) -> None:
        """Write into an input."""
        await self.value(f"document.querySelector({json.dumps(selector)}).focus()")
        await self.call("Input.insertText", text=text)

    async def screenshot(self, name: str) -> Path:
        """The whole page as a picture, kept as ``build/screenshots/NAME.png``."""
        picture = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        unfinished = SCREENSHOTS / f"{name}.{os.getpid()}"  # another session may write the same picture
        unfinished.write_bytes(base64.b64decode(picture["data"]))
        return unfinished.replace(path)

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A call of the protocol and its result."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        return await self._answers[number]

    async def listen(self) -> None:
        """Take in what the browser says, for as long as it does."""
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                continue
            said = json.loads(message.data)
            if "id" in said:
                answer = self._answers.pop(said["id"])
                if "error" in said:
                    answer.set_exception(RuntimeError(said["error"]["message"]))
                else:
                    answer.set_result(said["result"])
            elif said["method"] == "Page.loadEventFired":
                self._loaded.set()
            elif said["method"] in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
                self.complaints.append(json.dumps(said["params"]))


@asynccontextmanager
async def browser() -> AsyncIterator[Tab]:
    """A browser with one tab, which is gone at the end."""
    command = next(filter(None, map(shutil.which, _NAMES)), None)
    assert command, f"the test needs a browser: apt-get install {_NAMES[0]} (or one of {', '.join(_NAMES[1:])})"
    with tempfile.TemporaryDirectory() as profile:
        arguments = (*_OPTIONS, f"--user-data-dir={profile}", "about:blank")
        process = await asyncio.create_subprocess_exec(
            command, *arguments, stderr=asyncio.subprocess.PIPE, start_new_session=True
        )
        assert process.stderr is not None
        try:
            port = await _port(process.stderr)
            draining = asyncio.create_task(process.stderr.read())
            async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/json/list") as tabs:
                (found,) = [tab for tab in await tabs.json() if tab["type"] == "page"]
                async with session.ws_connect(found["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    tab = Tab(socket)
                    listening = asyncio.create_task(tab.listen())
                    yield tab
                    listening.cancel()
            draining.cancel()
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # the command may be a script, and the browser a child of it
            await process.wait()


async def _port(output: asyncio.StreamReader) -> int:
    """Where the browser listens, which it says as soon as it does."""
    said = b""
    async for line in output:
        said += line
        if found := re.search(rb"DevTools listening on ws://127\.0\.0\.1:(\d+)/", line):
            return int(found[1])
    raise AssertionError(f"the browser did not start: {said.decode(errors='replace')}")

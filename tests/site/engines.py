"""Firefox and WebKitGTK, as far as one test each needs them: both speak the protocol that browsers are steered by.

Firefox speaks WebDriver BiDi itself, over a WebSocket; WebKitGTK has a program beside it, which speaks WebDriver over
HTTP. What they have in common is what a reader does: open a page, press keys, and see.
"""

import json
import os
import re
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import websocket

PATIENCE = 120  # seconds: a busy machine is no fault of the page
# As the first script of a page: it collects what is thrown, what does not load, and what is written as an error.
LISTEN = """<script>
    window.wrong = [];
    const note = ({message, target}) => wrong.push(message ?? `failed: ${target.src ?? target.href}`);
    addEventListener("error", note, true);
    addEventListener("unhandledrejection", event => wrong.push(String(event.reason)));
    console.error = (...words) => wrong.push(words.join(" "));
</script>"""


def wait_for(look, what: str):
    """What `look` returns, as soon as it is something."""
    end = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < end, f"{PATIENCE} seconds later there is still no {what}"
        time.sleep(0.05)
    return found


def end(process: subprocess.Popen) -> None:
    """Ask a program to end, and wait until it has."""
    process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    """Is there somebody at the port?"""
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


def keys(text: str) -> list[dict]:
    """The actions that press the keys of a text, one after the other."""
    pressed = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
    return [{"type": "key", "id": "keyboard", "actions": pressed}]


class Firefox:
    """A Firefox without a window, with a profile of its own."""

    def __init__(self, path: str, folder: Path):
        self.asked, self.wrong, self.number = [], [], 0
        command = [path, "--headless", "--no-remote", "--profile", folder, "--remote-debugging-port=0", "about:blank"]
        with (folder / "log").open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HOME": str(folder)})
        try:
            told = r"WebDriver BiDi listening on (ws://\S+)"
            listening = wait_for(lambda: re.search(told, (folder / "log").read_text()), "Firefox that listens")
            self.socket = websocket.create_connection(f"{listening[1]}/session", PATIENCE, suppress_origin=True)
            self.call("session.new", capabilities={})
            self.call("session.subscribe", events=["log.entryAdded", "network.beforeRequestSent"])
            self.context = self.call("browsingContext.getTree")["contexts"][0]["context"]
        except BaseException:
            end(self.process)
            raise

    def call(self, method: str, **params) -> dict:
        """Give an order and wait for the answer; note what the browser tells of itself meanwhile."""
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": params}))
        while (told := json.loads(self.socket.recv())).get("id") != self.number:
            match told.get("method"):
                case "network.beforeRequestSent":
                    self.asked.append(told["params"]["request"]["url"])
                case "log.entryAdded" if told["params"]["level"] == "error":
                    self.wrong.append(told["params"]["text"])
        assert told["type"] == "success", told
        return told["result"]

    def open(self, url: str) -> None:
        self.call("browsingContext.navigate", context=self.context, url=url, wait="complete")

    def press(self, text: str) -> None:
        self.call("input.performActions", context=self.context, actions=keys(text))

    def evaluate(self, expression: str):
        """The value of an expression of JavaScript."""
        code = f"JSON.stringify({expression}) ?? 'null'"
        answer = self.call("script.evaluate", expression=code, target={"context": self.context}, awaitPromise=False)
        assert answer["type"] == "success", answer
        return json.loads(answer["result"]["value"])

    def close(self) -> None:
        self.socket.close()
        end(self.process)


class WebKit:
    """WebKitGTK's small browser, on a screen that nobody sees if there is a program that makes one.

    It does not tell what is wrong: a page has to collect that itself, in `wrong` (LISTEN).
    """

    def __init__(self, driver: str, browser: str, screen: str | None, folder: Path):
        self.processes, self.begun = [], False
        self.environment = {**os.environ, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "NO_AT_BRIDGE": "1"}
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        options = {"binary": browser, "args": ["--automation"]}
        try:
            if screen:
                self.start([screen, "-displayfd", "1", "-screen", "0", "1280x900x24"], folder / "screen")
                number = wait_for(lambda: (folder / "screen").read_text().strip(), "screen")
                self.environment["DISPLAY"] = f":{number}"
            self.start([driver, f"--port={port}"], folder / "log")
            self.address = f"http://127.0.0.1:{port}/session"
            wait_for(lambda: answers(port), "WebKitWebDriver that listens")
            session = self.call("", capabilities={"alwaysMatch": {"webkitgtk:browserOptions": options}})
            self.address += f"/{session['sessionId']}"
            self.begun = True
        except BaseException:
            self.close()
            raise

    def start(self, command: list[str], log: Path) -> None:
        """Start a program that writes into a file."""
        with log.open("w") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=self.environment)
        self.processes.insert(0, process)

    def call(self, order: str, method: str = "POST", **params):
        """Give an order and wait for the answer."""
        request = urllib.request.Request(f"{self.address}{order}", json.dumps(params).encode(), method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)["value"]

    def open(self, url: str) -> None:
        self.call("/url", url=url)

    def press(self, text: str) -> None:
        self.call("/actions", actions=keys(text))

    def evaluate(self, expression: str):
        """The value of an expression of JavaScript."""
        return self.call("/execute/sync", script=f"return {expression}", args=[])

    @property
    def wrong(self) -> list[str]:
        """What is wrong with this page."""
        return self.evaluate("window.wrong")

    @property
    def asked(self) -> list[str]:
        """What this page asked for, beside itself."""
        return self.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")

    def close(self) -> None:
        if self.begun:
            self.call("", "DELETE")  # which closes the browser, too
        for process in self.processes:
            end(process)

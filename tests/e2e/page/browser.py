# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A headless Chromium that is told what to do over a pipe, in the DevTools protocol."""
import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time

NAMES = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")


def program():
    """The browser's path, None: there is none."""
    return next((found for found in map(shutil.which, NAMES) if found), None)


class Failure(Exception):
    pass


class Browser:
    """One page. What it requests, and what it says on its console, is kept."""

    def __init__(self, limit_s=float(os.environ.get("PAGE_LIMIT", 60))):
        self.limit_s = limit_s
        self.home = tempfile.mkdtemp(prefix="lbd-page.")
        to_read, self.to_write = os.pipe()
        self.from_read, to_write = os.pipe()
        arguments = [program(), "--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--disable-gpu",
                     "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions", "--disable-sync",
                     "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
                     "--force-color-profile=srgb", f"--user-data-dir={self.home}", "about:blank"]

        def descriptors():
            # the browser reads 3 and writes 4: first away from there, as one may be the other's place
            reads, writes = (fcntl.fcntl(one, fcntl.F_DUPFD, 10) for one in (to_read, to_write))
            os.dup2(reads, 3)
            os.dup2(writes, 4)

        self.process = subprocess.Popen(arguments, close_fds=False, preexec_fn=descriptors, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(to_write)
        self.buffer, self.number, self.session = b"", 0, None
        self.requests, self.console = [], []
        target = next(one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.to_write)
        os.close(self.from_read)
        shutil.rmtree(self.home, ignore_errors=True)

    def message(self):
        while b"\0" not in self.buffer:
            more = os.read(self.from_read, 1 << 20)
            if not more:
                raise Failure("the browser has ended")
            self.buffer += more
        whole, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(whole)

    def note(self, message):
        method, of = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(of["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            about = of["exceptionDetails"]
            self.console.append("exception: " + about.get("exception", {}).get("description", about["text"]))
        elif method == "Runtime.consoleAPICalled" and of["type"] in ("error", "warning", "assert"):
            self.console.append(of["type"] + ": " + " ".join(str(one.get("value", "")) for one in of["args"]))
        elif method == "Log.entryAdded" and of["entry"]["level"] in ("error", "warning"):
            self.console.append(of["entry"]["level"] + ": " + of["entry"]["text"])

    def call(self, method, **params):
        self.number += 1
        request = {"id": self.number, "method": method, "params": params}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.to_write, json.dumps(request).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") != self.number:
                self.note(answer)
            elif "error" in answer:
                raise Failure(f"{method}: {answer['error']['message']}")
            else:
                return answer["result"]

    def run(self, script):
        """The value of a script, a promise's too."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True,
                           allowUnsafeEvalBlockedByCSP=False)
        if "exceptionDetails" in result:
            raise Failure(result["exceptionDetails"].get("exception", {}).get("description", script))
        return result["result"].get("value")

    def wait(self, what, script):
        """Until the script's value is true."""
        end = time.monotonic() + self.limit_s
        while not self.run(f"Boolean({script})"):
            if time.monotonic() > end:
                raise Failure(f"timed out waiting for {what}")
            time.sleep(0.1)

    def open(self, url, width=1440, height=900, dark=False, still=True):
        self.view(width, height)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"}])
        self.call("Page.navigate", url=url)
        self.wait("the page to load", "document.readyState === 'complete' && document.getElementById('rows')")

    def view(self, width, height=900):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)

    def colours(self, dark):
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"}])

    def press(self, key, code=None, shift=False):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=code or key, modifiers=8 if shift else 0,
                      windowsVirtualKeyCode={"Tab": 9, "Enter": 13, " ": 32}.get(key, 0),
                      **({"text": "\r"} if key == "Enter" and kind == "keyDown" else {}))

    def shot(self, path, whole=False):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("Page.captureScreenshot", format="png",
                                                  captureBeyondViewport=whole)["data"]))

"""A headless Chromium, told what to do over a pair of pipes: the Chrome DevTools Protocol without a WebSocket."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

from servers import find

PATIENCE = 60.0  # seconds


def installed():
    return find("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Browser:
    """One page. .complaints: what it said of mistakes, forbidden loads and the like; .urls: all that it asked for."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="realip-chromium-")
        read, self.write = os.pipe()
        self.read, write = os.pipe()
        # The protocol's descriptors are 3 (to the browser) and 4 (from it), wherever the pipes are now.
        shuffle = 'exec 3<&%d 4>&%d; exec "$@"' % (read, write)
        options = ["--headless=new", "--remote-debugging-pipe", "--user-data-dir=" + self.folder, "--no-first-run",
                   "--disable-gpu", "--hide-scrollbars", "--disable-extensions", "--disable-background-networking",
                   "--disable-component-update", "--disable-dev-shm-usage", "--no-proxy-server",
                   *(["--no-sandbox"] if os.geteuid() == 0 else []), "about:blank"]
        with open(os.path.join(self.folder, "output.log"), "wb") as log:
            self.process = subprocess.Popen(["bash", "-c", shuffle, "bash", installed(), *options], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, pass_fds=(read, write))
        os.close(read)
        os.close(write)
        self.buffer, self.number, self.session = b"", 0, None
        self.complaints, self.urls = [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(domain + ".enable")

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        number = self.number
        while True:
            answer = self.next_message()
            if answer.get("id") == number:
                if "error" in answer:
                    raise AssertionError("%s: %s" % (method, answer["error"]))
                return answer["result"]

    def next_message(self):
        end = time.monotonic() + PATIENCE
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.read], [], [], max(0, end - time.monotonic()))
            data = os.read(self.read, 1 << 20) if ready else b""
            if not data:
                with open(os.path.join(self.folder, "output.log")) as log:
                    raise AssertionError("the browser says nothing; its output:\n" + log.read()[-3000:])
            self.buffer += data
        text, _, self.buffer = self.buffer.partition(b"\0")
        message = json.loads(text)
        self.note(message.get("method"), message.get("params"))
        return message

    def note(self, method, params):
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(json.dumps(params["args"]))
        elif method == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.urls.append(params["request"]["url"])

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            raise AssertionError("%s: %s" % (expression, result["exceptionDetails"]))
        return result["result"].get("value")

    def wait(self, expression, what):
        end = time.monotonic() + PATIENCE
        while not self.evaluate(expression):
            if time.monotonic() > end:
                raise AssertionError("waited in vain for %s" % what)
            time.sleep(0.05)

    def show(self, width, height, scale=1, dark=False, script=True):
        """The window of the pages that are opened from now on."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale,
                  mobile=width < 600)
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.call("Emulation.setScriptExecutionDisabled", value=not script)

    def visit(self, url):
        self.call("Page.navigate", url=url)
        self.wait("document.readyState == 'complete' && location.href == %s" % json.dumps(url), url)

    def take_picture(self, path):
        """Of the whole page, not only of what fits into the window."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        finally:
            os.close(self.read)
            os.close(self.write)
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

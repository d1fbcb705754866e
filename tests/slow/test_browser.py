"""The page of results in chromium without a window, at a phone's and a desk's width.

The browser says which requests a page made (its net log), what it wrote to the console, and, by a
few lines of script that only this test puts into the page, how large everything is drawn.
"""

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path

import pytest

from gear.report import page
from gear.study.registry import Study

ROOT = Path(__file__).resolve().parents[2]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --no-first-run "
    "--disable-component-update --disable-sync --enable-logging=stderr --virtual-time-budget=5000"
).split()
OPTIONS.append("--host-resolver-rules=MAP * ~NOTFOUND")
# a request of a page, which has an origin; the browser's own have none. Each stands on a line.
REQUEST = re.compile(r'"initiator":"(?!not an origin)[^"]*".*"url":"((?:http|ws)s?:[^"]*)"')
PROBE = """<script>addEventListener("load", () => {
const box = (e) => e.getBoundingClientRect();
const said = {width: innerWidth, needed: document.documentElement.scrollWidth,
dark: getComputedStyle(document.body).backgroundColor,
charts: [...document.querySelectorAll("img.chart")].map((i) => box(i).width),
images: [...document.images].map((i) => [i.naturalWidth, box(i).width, box(i).height])};
parent.document.body.dataset.said = JSON.stringify(said)});</script>"""
# a window has at least 500 pixels, a frame any number
FRAME = (
    '<body style="margin:0"><iframe style="border:0;width:{width}px;height:900px" srcdoc="{page}">'
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BROWSER, reason="no chromium here (Debian: apt install chromium)"),
]


def look(folder, text, width, *options):
    """(what the probe said, lines of the console, URLs that the page asked for)."""
    file, log = folder / "frame.html", folder / "net.json"
    framed = escape(text.replace("</body>", f"{PROBE}</body>"))
    file.write_text(FRAME.format(width=width, page=framed), encoding="utf-8")
    places = (f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}")
    words = [BROWSER, *OPTIONS, *places, "--window-size=1300,900", *options, "--dump-dom"]
    done = subprocess.run([*words, file.as_uri()], capture_output=True, text=True, timeout=180)
    said = re.search(r'data-said="(.*?)"', done.stdout)
    assert said, done.stderr
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    urls = set(REQUEST.findall(log.read_text(encoding="utf-8")))
    return json.loads(unescape(said.group(1))), console, urls


@pytest.fixture(scope="module")
def text():
    return page.page(Study("demo"), ROOT / "results/demo")


@pytest.mark.parametrize("width", [400, 1200])
def test_the_page_fits_shows_all_and_asks_for_nothing(tmp_path, text, width):
    said, console, urls = look(tmp_path, text, width)
    assert said["width"] == width >= said["needed"]
    assert len(said["images"]) == len(Study("demo").figures)
    assert all(own > 0 and wide > 250 and high > 80 for own, wide, high in said["images"])
    assert said["charts"] and min(said["charts"]) >= 560  # their letters can be read
    assert not console and not urls


def test_the_page_is_dark_where_the_reader_wants_it(tmp_path, text):
    dark = ("--force-dark-mode", "--blink-settings=preferredColorScheme=0")
    grounds = []
    for name, options in (("light", ()), ("dark", dark)):
        (tmp_path / name).mkdir()
        said, _, _ = look(tmp_path / name, text, 1200, *options)
        grounds.append(sum(map(int, re.findall(r"\d+", said["dark"])[:3])))
    assert grounds[0] > 600 > 200 > grounds[1]


def test_a_faulty_page_is_found(tmp_path):
    """What the other tests look for is seen where it is."""
    faults = '<img src="http://127.0.0.1:9/x.png"><p style="width:3000px">wide</p>'
    faults += "<script>console.error('fault')</script>"
    said, console, urls = look(tmp_path, f"<html><body>{faults}</body></html>", 400)
    assert said["needed"] > said["width"] and said["images"][0][0] == 0
    assert any("fault" in line for line in console) and "http://127.0.0.1:9/x.png" in urls

"""How many steps of `mlp8` (8 layers, batch 20, Adam) the laboratory takes in a frame of a sixtieth of a second.

python tests/benchmarks/laboratory.py

It needs Chromium and playwright. Learning alone is timed, not what is drawn; the best of five.
"""

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tinygrad_lesson.lesson import lab
from tinygrad_lesson.viz.page import laboratory

STEPS = """() => {
    const [net] = Laboratory.nets();
    for (let i = 0; i < 500; i++) net.step();
    const began = performance.now();
    for (let i = 0; i < 1000; i++) net.step();
    return (performance.now() - began) / 1000;
}"""

with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
    path = laboratory(lab.kit(), Path(folder) / "laboratory.html")
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
    tab = browser.new_page()
    tab.goto(path.as_uri())
    tab.wait_for_timeout(1000)
    best = min(tab.evaluate(STEPS) for _ in range(5))
    print(f"{1000 * best:.0f} us a step; {1000 / 60 / best:.0f} steps in a frame of 1/60 s")
    browser.close()

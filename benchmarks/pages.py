"""Report pages of 24, 1,000 and 10,000 trials in Chromium: their size, and how long they take to open and to filter.

    python -m benchmarks.pages --folder NEW      # writes figures/pages.json; medians of 7

The sweeps are made up (`benchmarks.reading`), with an evaluation every 100 steps. A page is opened from the disk, in an
empty profile, 1280 x 900 pixels, and is open when all figures are drawn. Filters are set on `weight_decay`, to another
range each time, and have been drawn when two frames have passed. The figures are drawn once for each size.
"""

import argparse
import json
import os
import platform
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from selenium.webdriver.chrome.webdriver import WebDriver

from benchmarks import reading
from sweeper.folder.layout import SweepFolder
from sweeper.report import page
from sweeper.report.document import figures_of, report_data
from tests.fakes.browser import DESKTOP, browser, show

FIGURES = Path(__file__).parent / "figures" / "pages.json"
SIZES = (24, 1_000, 10_000)
_FILTER = """
    const [low, high, done] = arguments, began = performance.now();
    const dimension = state.dimensions.find((each) => each.key === "weight_decay");
    state.setFilter(dimension, {low, high});
    const drawn = performance.now() - began;
    requestAnimationFrame(() => requestAnimationFrame(() => done([drawn, performance.now() - began])));
"""


def opened(driver: WebDriver, address: str) -> float:
    """Seconds from asking for a page until its figures are drawn."""
    began = time.perf_counter()
    show(driver, address, DESKTOP)
    while not driver.execute_script("return document.documentElement.dataset.ready"):
        time.sleep(0.01)
    driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    return time.perf_counter() - began


def measure(folder: Path, trials: int, repeats: int) -> dict[str, Any]:
    """Make a sweep and its report, and measure the page."""
    sweep = SweepFolder(folder / str(trials))
    if not sweep.space.exists():
        reading.make(sweep, trials)
    began = time.perf_counter()
    data = report_data(sweep, ())
    read = time.perf_counter() - began
    bare = len(page.html(data).encode())
    figures = {}
    began = time.perf_counter()
    for figure in figures_of(sweep):
        figures[figure.name] = time.perf_counter() - began
        began = time.perf_counter()
    written = page.write(report_data(sweep, figures_of(sweep)), folder / f"{trials}-report")
    openings, scripts, filters = [], [], []
    with browser(folder / f"{trials}-profile") as driver:
        for repeat in range(repeats + 1):
            openings.append(opened(driver, written.page.as_uri()))
            script, whole = driver.execute_async_script(_FILTER, 0.02 + 0.01 * repeat, 0.3)
            scripts.append(script)
            filters.append(whole)
    for each in (openings, scripts, filters):
        del each[0]  # the browser has just been started
    return {
        "trials": trials,
        "bytes": written.page.stat().st_size,
        "bytes without still figures": bare,
        "seconds to read": read,
        "seconds to draw each figure": figures,
        "seconds to open": openings,
        "milliseconds of script to filter": scripts,
        "milliseconds to filter": filters,
    }


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the sweeps are, or will be")
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    reading.EVERY = 100
    reading.QUESTION = reading.QUESTION.replace("evaluate_every: 10,", "evaluate_every: 100,")
    found = [measure(given.folder, trials, given.repeats) for trials in SIZES]
    for each in found:
        size, opening = each["bytes"] / 1e6, statistics.median(each["seconds to open"])
        bare = each["bytes without still figures"] / 1e6
        slowest = max(each["seconds to draw each figure"].items(), key=lambda pair: pair[1])
        print(
            f"{each['trials']:>6} trials: {size:.2f} MB ({bare:.2f} without stills), "
            f"open in {opening:.2f} s, filter in {statistics.median(each['milliseconds of script to filter']):.0f} ms "
            f"({statistics.median(each['milliseconds to filter']):.0f} ms with two frames), read in "
            f"{each['seconds to read']:.1f} s, drawn in {sum(each['seconds to draw each figure'].values()):.1f} s, "
            f"of which {slowest[0]} {slowest[1]:.1f} s"
        )
    about = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
    }
    FIGURES.write_text(json.dumps(about | {"pages": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""The interactive figures: their data, and a real browser that points, brushes, types and opens a trial."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.wait import WebDriverWait

from sweeper.config.loading import load
from sweeper.report import page
from sweeper.report.explorer import explorer
from sweeper.report.leaderboard import leaderboard
from tests.fakes.browser import DESKTOP, PHONE, browser, console, needs_browser, show
from tests.fakes.reports import MADE_UP
from tests.fakes.sweeps import Sweep
from tests.fakes.training import learns

AGAIN = """
name: again
task: {{name: modular_arithmetic, operation: x_plus_y}}
objective: {{until: val_accuracy > 0.9, horizon: 100}}
{}
baselines: {{same: {{}}}}
budget: {{trials: 1}}
"""


@pytest.fixture(scope="module")
def data(made_up_sweep: Sweep) -> dict[str, Any]:
    return explorer(made_up_sweep.folder, load(made_up_sweep.folder.space).spec)


@pytest.mark.slow
def test_every_trial_that_did_not_fail_is_there_with_the_leaderboards_means(
    made_up_sweep: Sweep, data: dict[str, Any]
) -> None:
    spec = load(made_up_sweep.folder.space).spec
    board = leaderboard(made_up_sweep.folder, spec, 100)
    expected = [row for row in board.rows if row["state"] != "failed"]
    trials = data["trials"]
    assert trials["trial"] == [row["trial"] for row in expected]
    assert trials["mean"]["steps"] == pytest.approx([row["mean"] for row in expected], rel=1e-4)
    assert [sign == "" for sign in trials["sign"]] == [row["reached"] == row["runs"] for row in expected]
    assert {len(each) for each in (*trials["mean"].values(), *trials["values"].values())} == {len(expected)}
    assert [dimension["key"] for dimension in data["dimensions"]] == list(spec.search)


def test_values_are_not_rounded(tmp_path: Path) -> None:
    """The dialog of a trial shows what its YAML holds."""
    sweep = Sweep(tmp_path, {"search": {"weight_decay": {"float": [0.1, 1.0]}}, "sampler": {"name": "random"}})
    sweep.changes |= {"budget": {"trials": 2}}
    sweep.launch(learns(lambda *_: 20))
    found = explorer(sweep.folder, load(sweep.folder.space).spec)["trials"]
    held = {row["trial"]: row["weight_decay"] for row in sweep.rows()}
    assert found["values"]["weight_decay"] == [held[trial] for trial in found["trial"]]
    assert all(len(str(value)) > 8 for value in held.values())


def test_means_on_another_clock_are_those_of_runs_that_count_at_its_limit(data: dict[str, Any]) -> None:
    for clock in ("examples", "seconds"):
        assert all(0 < mean <= data["limits"][clock] * (1 + 1e-4) for mean in data["trials"]["mean"][clock])


def test_curves_are_there_for_the_best_and_for_confirmations(data: dict[str, Any]) -> None:
    confirmations = [number for number in data["trials"]["confirmation"] if number is not None]
    assert confirmations
    assert {*data["trials"]["trial"], *confirmations} == set(data["curves"])
    for runs in data["curves"].values():
        for run in runs:
            assert len({len(run[name]) for name in ("steps", "examples", "seconds", "metric")}) == 1
            assert run["steps"] == sorted(run["steps"])
            assert all(value is None or math.isfinite(value) for value in run["metric"])


class Page:
    """The page in a browser."""

    def __init__(self, driver: WebDriver):
        self.driver = driver
        WebDriverWait(driver, 20).until(lambda _: self.js("return document.documentElement.dataset.ready") == "yes")

    def js(self, program: str, *arguments: Any) -> Any:
        return self.driver.execute_script(program, *arguments)

    def text(self, selector: str) -> str:
        return self.driver.find_element(By.CSS_SELECTOR, selector).text

    def rows(self) -> list[str]:
        return [cell.text for cell in self.driver.find_elements(By.CSS_SELECTOR, "#trials tbody tr td:first-child")]

    def brush(self, selector: str, start: tuple[int, int], by: tuple[int, int]) -> None:
        """Drag over an element, from a point that is given from its upper left corner."""
        element = self.driver.find_element(By.CSS_SELECTOR, selector)
        self.js("arguments[0].scrollIntoView({block: 'center'})", element)
        corner = (element.rect["width"] / 2, element.rect["height"] / 2)
        chain = ActionChains(self.driver, duration=50)
        chain.move_to_element_with_offset(element, int(start[0] - corner[0]), int(start[1] - corner[1]))
        chain.click_and_hold().move_by_offset(by[0] // 2, by[1] // 2).move_by_offset(
            by[0] - by[0] // 2, by[1] - by[1] // 2
        )
        chain.release().perform()


@needs_browser
def test_a_person_points_brushes_types_opens_a_trial_and_prints(data: dict[str, Any], tmp_path: Path) -> None:
    written = page.write(replace(MADE_UP, explorer=data), tmp_path / "report")
    with browser(tmp_path / "profile") as driver:
        show(driver, written.page.as_uri(), DESKTOP)
        found = Page(driver)
        everybody = found.rows()
        assert found.text("#count") == f"All {len(everybody)} trials are shown."

        # Point at the best trial's mark in the panel of a number: it is named, and its row stands out.
        number, x, y = found.js(
            "const keys = state.dimensions.filter((each) => each.key);"
            "const at = keys.findIndex((each) => !each.words && state.value(each, 0) !== null);"
            "const width = +document.querySelectorAll('#explore-slices svg')[at].getAttribute('width');"
            "const place = (dimension, range) => scaleOf(dimension, range)(state.value(dimension, 0));"
            "return [at, place(keys[at], [48, width - 10]), place(state.dimensions.at(-1), [156, 10])]"
        )
        panel = driver.find_elements(By.CSS_SELECTOR, "#explore-slices svg")[number]
        found.js("arguments[0].scrollIntoView({block: 'center'})", panel)
        aside = (int(x - panel.size["width"] / 2), int(y - panel.size["height"] / 2))
        ActionChains(driver, duration=50).move_to_element_with_offset(panel, *aside).perform()
        assert everybody[0] in found.text("#tip")
        assert found.js("return document.querySelector('#trials tbody tr').classList.contains('hover')")

        # Brush the upper half of the last axis, the mean time: the slow ones are left; clear it.
        height = found.js(
            "return document.querySelector('#explore-parallel g.axis:last-of-type .overlay').getBBox().height"
        )
        found.brush("#explore-parallel g.axis:last-of-type .overlay", (14, 2), (0, int(height / 2)))
        slow = found.rows()
        assert 0 < len(slow) < len(everybody)
        assert found.text("#count") == f"{len(slow)} of {len(everybody)} trials pass the filters."
        assert everybody[0] not in slow
        driver.find_element(By.ID, "clear").click()
        assert found.rows() == everybody

        # The same filter by keyboard.
        driver.find_element(By.CSS_SELECTOR, "details summary").click()
        limit = found.js("return state.value(state.dimensions.at(-1), 0)")
        field = driver.find_element(By.CSS_SELECTOR, "#typed fieldset:last-of-type input[data-end=high]")
        field.send_keys(str(limit), Keys.TAB)
        assert found.rows() == [
            name
            for i, name in enumerate(everybody)
            if found.js("return state.value(state.dimensions.at(-1), arguments[0])", i) <= limit
        ]
        driver.find_element(By.ID, "clear").click()

        # Another clock changes the column; then the keyboard opens a trial, whose YAML is a part of a space.yaml.
        driver.find_element(By.CSS_SELECTOR, "input[name=clock][value=examples]").click()
        assert "mean examples" in found.text("#trials thead")
        driver.find_element(By.CSS_SELECTOR, "#trials tbody tr").send_keys(Keys.ENTER)
        assert found.text("#trial-title") in everybody
        space = tmp_path / "again.yaml"
        space.write_text(AGAIN.format(found.text("#trial-yaml")))
        assert load(space).spec.fixed
        driver.find_element(By.CSS_SELECTOR, "#trial button[data-close]").click()
        assert not found.js("return document.getElementById('trial').open")

        # Dark, and on paper.
        light = found.js("return getComputedStyle(document.body).backgroundColor")
        driver.find_element(By.ID, "theme").click()
        assert found.js("return getComputedStyle(document.body).backgroundColor") != light
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        assert found.js("return getComputedStyle(document.getElementById('explore')).display") == "none"
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})

        show(driver, written.page.as_uri(), PHONE)
        Page(driver)
        assert found.js("return document.documentElement.scrollWidth <= innerWidth")
        assert console(driver) == []

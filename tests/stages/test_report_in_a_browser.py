"""The page of a report in Chromium: what a reader clicks, slides, sorts and turns dark."""

from __future__ import annotations

import shutil
import time
import warnings
from dataclasses import replace

import pytest
from evaluation.report.pages import make_page

from nwb_latents.pipeline.evaluation.report.page import page_html

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
WAIT_S = 90.0


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    plain = make_page()
    steps = {
        name: values * 3 if isinstance(values, list) else 3 * values for name, values in plain.numbers.items()
    }
    steps["step"] = sorted([1, 2, 3] * len(plain.numbers["step"]))
    made = {"plain": plain, "hostile": make_page(9, 9, hostile=True, n_trials=3)}
    made["steps"] = replace(plain, numbers=steps)
    for name, page in made.items():
        (folder / f"{name}.html").write_text(page_html(page, max_mb=10).html, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None or DRIVER is None:
        missing = "Chromium" if CHROMIUM is None else "chromedriver"
        text = (
            f"NOT TESTED IN A BROWSER: {missing} is not installed (apt-get install chromium chromium-driver)"
        )
        warnings.warn(text, stacklevel=1)
        pytest.skip(text)
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--enable-unsafe-swiftshader",
        "--window-size=1200,900",
    ):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield started
    started.quit()


@pytest.fixture
def opened(browser, pages):
    """Return a function that opens a page and waits until it has drawn."""

    def open_page(name="plain", *, width=1200, dark=False):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        browser.get_log("browser")
        browser.get((pages / f"{name}.html").as_uri())
        until(browser, "return document.querySelectorAll('.js-plotly-plot .main-svg').length >= 8")
        return browser

    yield open_page
    assert errors_of(browser) == []


def until(browser, script, *arguments):
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        found = browser.execute_script(script, *arguments)
        if found:
            return found
        time.sleep(0.1)
    said = browser.execute_script("return document.getElementById('trouble').innerText")
    raise AssertionError(f"{script}: not within {WAIT_S:g} s. {said} {errors_of(browser)}")


def errors_of(browser):
    return [each["message"] for each in browser.get_log("browser") if each["level"] == "SEVERE"]


def click(browser, selector):
    browser.execute_script("document.querySelector(arguments[0]).click()", selector)


def texts(browser, selector):
    found = "return [...document.querySelectorAll(arguments[0])].filter(e => e.offsetParent)"
    script = f"{found}.map(e => e.textContent.trim())"
    return browser.execute_script(script, selector)


def slide(browser, id_, value):
    script = "const e = document.getElementById(arguments[0]); e.value = arguments[1]; "
    script += "e.dispatchEvent(new Event('input'))"
    browser.execute_script(script, id_, value)


def test_a_click_on_a_head_sorts_by_the_number_behind_a_cell(opened):
    browser = opened()
    head = "#board .board thead th:nth-child(3) .sort"
    click(browser, head)
    assert texts(browser, "#board .board tbody th") == ["mdssm-0", "mdssm-1"]
    assert (
        browser.execute_script("return document.querySelector('#board .board th[aria-sort]').ariaSort")
        == "ascending"
    )
    click(browser, head)
    assert texts(browser, "#board .board tbody th") == ["mdssm-1", "mdssm-0"]


def test_a_click_on_a_session_shows_it_alone_and_back(opened):
    browser = opened()
    click(browser, "#lights tbody tr:nth-child(2) .pick")
    assert texts(browser, "#lights tbody .pick") == ["sub-A_ses-01"]
    assert texts(browser, "#filtered span") == [
        "Showing sub-A_ses-01 alone; leaderboards are of all sessions."
    ]
    until(browser, "return document.getElementById('session-choice').value.startsWith('sub-A_ses-01')")
    kept = "return document.querySelector('.funnel[data-what=trials] tbody tr:nth-child(2) b').textContent"
    assert browser.execute_script(kept) == "101"
    assert set(texts(browser, "#all-numbers tbody td:nth-child(4)")) == {"sub-A_ses-01"}
    click(browser, "#show-all")
    assert len(texts(browser, "#lights tbody .pick")) == 3
    assert browser.execute_script(kept) == "303"


def test_a_click_on_a_light_shows_the_sessions_with_the_same(opened):
    browser = opened()
    click(browser, "#lights button.light.look")
    assert texts(browser, "#lights tbody .pick") == ["sub-A_ses-01"]
    assert "Onsets: as expected" in texts(browser, "#why")[0]


def test_the_slider_chooses_the_trial(opened):
    browser = opened()
    until(browser, "return document.getElementById('trial').max == 23")
    before = browser.execute_script("return document.getElementById('plot-raster').data[0].z")
    slide(browser, "trial", 5)
    said = "trial 35 (6 of 24 drawn)"
    until(browser, "return document.getElementById('trial-words').textContent.startsWith(arguments[0])", said)
    until(browser, "return document.getElementById('plot-raster').ariaLabel.includes('trial 35')")
    z = "document.getElementById('plot-raster').data[0].z"
    until(browser, f"return JSON.stringify({z}) != JSON.stringify(arguments[0])", before)
    assert texts(browser, "#trial-words")[0].startswith(said)


def test_latents_turn_by_sliders_which_keys_move_too(opened):
    browser = opened()
    until(browser, "return document.getElementById('plot-latents').layout?.scene")
    slide(browser, "turn", 90)
    eye = "document.getElementById('plot-latents').layout.scene.camera.eye"
    until(browser, f"const e = {eye}; return Math.abs(e.x) < 0.01 && e.y > 1")
    browser.find_element("id", "turn").send_keys("\ue014")
    until(browser, f"return Math.abs({eye}.x) > 0.001")
    assert browser.execute_script("return document.getElementById('turn').value") != "90"


def test_two_ticked_runs_show_the_settings_in_which_they_differ(opened):
    browser = opened()
    click(browser, "#runs tbody tr:nth-child(1) .tick")
    assert texts(browser, "#difference table tbody th") == []
    click(browser, "#runs tbody tr:nth-child(2) .tick")
    assert texts(browser, "#difference table tbody th") == ["seed"]
    assert texts(browser, "#difference table tbody td") == ["0", "1"]
    until(browser, "return document.getElementById('plot-loss').data?.length == 2")


def test_forecasts_are_drawn_step_by_step_as_they_were_measured(opened):
    browser = opened("steps")
    until(browser, "return document.getElementById('plot-steps').data?.length")
    drawn = browser.execute_script(
        "return document.getElementById('plot-steps').data.map(e => [e.name, e.x, e.y])"
    )
    value = make_page(arrays=False).numbers["value"][0]
    assert drawn == [["mdssm-0, reconstruction", [1, 2, 3], [value] * 3]]


def test_numbers_are_as_they_were_measured_and_stale_ones_marked(opened):
    browser = opened()
    cells = "return [...document.querySelectorAll('#all-numbers td.value')]"
    values = f"{cells}.map(e => [Number(e.dataset.value), e.textContent])"
    found = dict(browser.execute_script(values))
    numbers = make_page(arrays=False).numbers
    assert set(found) == set(numbers["value"])
    assert found[numbers["value"][0]] == f"{numbers['value'][0]:.3f}"
    stale = texts(browser, "#all-numbers tr.stale td:last-child")
    assert stale == ["stale: its store was made anew"] * 2
    click(browser, "#with-stale")
    assert texts(browser, "#all-numbers tr.stale td:last-child") == []
    slide(browser, "search", "ses-00 mdssm-1")
    until(browser, "return document.querySelectorAll('#all-numbers tbody tr').length == 1")


@pytest.mark.parametrize("dark", [False, True])
def test_it_is_dark_where_the_reader_is_and_at_a_click(opened, dark):
    browser = opened(dark=dark)
    back = "return getComputedStyle(document.body).backgroundColor"
    light_back, dark_back = "rgb(255, 255, 255)", "rgb(20, 23, 27)"
    assert browser.execute_script(back) == (dark_back if dark else light_back)
    click(browser, "#theme")
    assert browser.execute_script(back) == (light_back if dark else dark_back)
    colour = "#1d2025" if dark else "#e6e9ed"
    until(
        browser, "return document.getElementById('plot-velocity').layout.font.color == arguments[0]", colour
    )


@pytest.mark.parametrize("name", ["plain", "hostile"])
@pytest.mark.parametrize("width", [420, 1200])
def test_no_width_makes_the_page_scroll_sideways(opened, name, width):
    browser = opened(name, width=width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_hostile_names_are_text_everywhere(opened):
    browser = opened("hostile")
    for index in range(9):
        script = (
            "const e = document.getElementById(arguments[0]); e.selectedIndex = arguments[1]; "
            "e.dispatchEvent(new Event('change'))"
        )
        browser.execute_script(script, "session-choice", index)
        browser.execute_script(script, "run-choice", index)
        until(browser, "return document.querySelectorAll('.of-run:not([hidden])').length == 1")
    click(browser, "#lights button.light")
    time.sleep(1)
    assert browser.execute_script("return window.hacked === undefined")
    assert (
        browser.execute_script(
            "return document.querySelectorAll('img[onerror], [onload], a[href^=javascript]').length"
        )
        == 0
    )


def test_nothing_is_asked_of_a_network(opened):
    browser = opened()
    asked = [
        each["message"]
        for each in browser.get_log("performance")
        if '"Network.requestWillBeSent"' in each["message"]
    ]
    assert not [each for each in asked if '"url":"http' in each]


def test_it_can_be_used_and_read_without_a_mouse_and_without_eyes(opened):
    browser = opened()
    script = """
    const seen = (words) => [...document.querySelectorAll(words)].filter(e => e.offsetParent);
    const nameless = seen('button, select, input, summary, a')
      .filter(e => !(e.textContent.trim() || e.ariaLabel || e.labels?.length || e.placeholder));
    const headless = [...document.querySelectorAll('table')].filter(e => !e.querySelector('th[scope]'));
    const silent = seen('.js-plotly-plot').filter(e => !e.ariaLabel);
    const unreachable = seen('button, input, select, a').filter(e => e.tabIndex < 0);
    return [nameless, headless, silent, unreachable].map(e => e.length);
    """
    assert browser.execute_script(script) == [0, 0, 0, 0]
    assert browser.execute_script("return document.documentElement.lang") == "en"


def test_it_prints(opened):
    browser = opened()
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
    assert len(printed) > 100_000

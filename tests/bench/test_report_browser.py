"""The report in a real browser: no sideways scrolling, no request, themes, nothing cut off."""

from __future__ import annotations

import json
import shutil
import tempfile

import pytest
from synthetic_results import make_results

from ogive.bench.report import render
from ogive.bench.stats import analyse

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium or chromedriver is not installed")

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run", "--hide-scrollbars",
)  # fmt: skip
FORMULA = "x * sigmoid(1.5 * x) + 0.1 * tanh(x) - <b>0</b>"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    acts = ("relu", "gelu", "silu", "golu", "tanh", FORMULA)
    results = make_results(acts=acts, diverged=[("camera", "tanh", None)], failed=[("co2", "silu", 2)])
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(results, analyse(results)), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser():
    from selenium.webdriver.chrome.service import Service

    profile = tempfile.mkdtemp(prefix="ogive-report-")
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()
    shutil.rmtree(profile, ignore_errors=True)


def show(browser, page, width=1280, scheme="light", scripts=True):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
    browser.get(page)


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_only_tables_scroll_sideways(browser, page, width):
    show(browser, page, width)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    wide = browser.execute_script(
        """return [...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, nav, .skip, svg'))
           .filter(e => e.getBoundingClientRect().right > innerWidth + 0.5)
           .map(e => e.outerHTML.slice(0, 80))"""
    )
    assert wide == []


@pytest.mark.parametrize("width", [360, 1280])
def test_no_chart_cuts_its_text_off_or_prints_it_too_small(browser, page, width):
    show(browser, page, width)
    found = browser.execute_script(
        """const bad = [];
        for (const svg of document.querySelectorAll('svg.chart')) {
          const box = svg.getBoundingClientRect();
          for (const text of svg.querySelectorAll('text')) {
            const t = text.getBoundingClientRect();
            if (t.left < box.left - 1 || t.right > box.right + 1 ||
                t.top < box.top - 1 || t.bottom > box.bottom + 1)
              bad.push(['outside', svg.querySelector('title').textContent, text.textContent]);
            if (t.height > 0 && t.height < 9 && !text.getAttribute('transform'))
              bad.push(['small', text.textContent, t.height]);
          }
        }
        return bad"""
    )
    assert found == []


def test_row_labels_do_not_run_into_each_other(browser, page):
    show(browser, page, 360)
    found = browser.execute_script(
        """const bad = [];
        for (const svg of document.querySelectorAll('svg.chart')) {
          const names = [...svg.querySelectorAll('text.name')];
          names.forEach((a, i) => names.slice(i + 1).forEach(b => {
            const p = a.getBoundingClientRect(), q = b.getBoundingClientRect();
            const x = Math.min(p.right, q.right) - Math.max(p.left, q.left);
            const y = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
            if (x > 1 && y > 4) bad.push([a.textContent, b.textContent, y]);
          }));
        }
        return bad"""
    )
    assert found == []


def test_the_page_makes_no_request_and_logs_no_error(browser, page):
    browser.get_log("performance")
    browser.get_log("browser")
    show(browser, page)
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = {m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"}
    assert urls == {page}
    assert browser.get_log("browser") == []


def test_the_theme_follows_the_system_and_the_switch_without_script(browser, page):
    from selenium.webdriver.common.by import By

    def paper():
        return browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")

    show(browser, page, scheme="light", scripts=False)
    light = paper()
    show(browser, page, scheme="dark", scripts=False)
    dark = paper()
    assert light != dark
    browser.find_element(By.CSS_SELECTOR, "label[for=light]").click()
    assert paper() == light
    browser.find_element(By.CSS_SELECTOR, "label[for=auto]").click()
    assert paper() == dark
    show(browser, page, scheme="light", scripts=False)
    browser.find_element(By.CSS_SELECTOR, "label[for=dark]").click()
    assert paper() == dark
    show(browser, page)


def test_a_formula_with_markup_in_it_is_text(browser, page):
    show(browser, page)
    assert browser.execute_script("return document.querySelectorAll('b').length") == 0
    assert FORMULA in browser.execute_script("return document.body.textContent")


def test_tables_can_be_reached_and_scrolled_by_keyboard(browser, page):
    show(browser, page, 360)
    moved = browser.execute_script(
        """const box = document.querySelector('.scroll'); box.focus();
           box.scrollLeft = 200; const head = box.querySelector('tbody th').getBoundingClientRect();
           const named = box.getAttribute('aria-label');
           return [document.activeElement === box, box.scrollLeft, head.left >= 0, named]"""
    )
    assert moved[:3] == [True, 200, True]
    assert moved[3]

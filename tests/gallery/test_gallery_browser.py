"""A small gallery in a real browser: search, filters, sliders, comparison, map, themes, narrow screens, keyboard."""

from __future__ import annotations

import json
import shutil
import tempfile

import numpy as np
import pytest
import torch

from ogive import catalogue
from ogive.derive.calculus import derivative
from ogive.gallery import build
from ogive.gallery.javascript import function
from ogive.gallery.shell import asset
from ogive.kernels import native

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium or chromedriver is not installed")

NAMES = ("relu", "gelu", "silu", "tanh", "swish", "elu", "sine", "heaviside", "softplus", "hardtanh", "swiglu", "mish")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run", "--hide-scrollbars",
)  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("gallery") / "site"
    built = build(out, NAMES)
    assert not built.failed
    return out


@pytest.fixture(scope="module")
def browser():
    from selenium.webdriver.chrome.service import Service

    profile = tempfile.mkdtemp(prefix="ogive-gallery-")
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()
    shutil.rmtree(profile, ignore_errors=True)


@pytest.fixture
def show(browser, site):
    def go(page, width=1280, scheme="light"):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        browser.get("about:blank")  # an address that differs in its fragment alone would not load again
        browser.get((site / page.partition("#")[0]).as_uri() + page[len(page.partition("#")[0]) :])
        return browser

    yield go
    go("index.html").execute_script("localStorage.clear()")


def find(browser, selector):
    return browser.find_element("css selector", selector)


def waiting(browser, seconds):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, seconds)


def names(browser):
    tiles = browser.find_elements("css selector", "main > .tiles > li:not([hidden])")
    return [tile.get_attribute("data-name") for tile in tiles]


def type_into(browser, selector, text):
    field = find(browser, selector)
    field.clear()
    field.send_keys(text)


@pytest.mark.parametrize(
    "query, first",
    [("gelu", "gelu"), ("hendrycks", "gelu"), ("gleu", "gelu"), ("hendrics", "gelu"), ("heavyside", "heaviside"),
     ("x*Phi(x)", "gelu"), ("misra", "mish"), ("hard tanh", "hardtanh"), ("sofplus", "softplus")],
)  # fmt: skip
def test_search_finds_names_authors_and_formulas_and_forgives_typos(show, query, first):
    browser = show("index.html")
    type_into(browser, "[name=q]", query)
    assert names(browser)[0] == first
    assert f"of {len(NAMES)} shown" in find(browser, ".count").text


def test_search_that_finds_nothing_says_so_and_can_be_cleared(show):
    browser = show("index.html")
    type_into(browser, "[name=q]", "zzqqzz")
    assert names(browser) == []
    find(browser, ".clear").click()
    assert sorted(names(browser)) == sorted(NAMES)
    assert not find(browser, ".empty").is_displayed()


@pytest.mark.parametrize(
    "flag, kept",
    [
        ("monotone", {"relu", "tanh", "elu", "heaviside", "softplus", "hardtanh"}),
        ("bounded", {"tanh", "sine", "heaviside", "hardtanh"}),
        ("smooth", {"gelu", "silu", "tanh", "swish", "elu", "sine", "softplus", "mish"}),
        ("learnable", {"swish", "elu", "softplus"}),
        ("zero", {"relu", "gelu", "silu", "tanh", "swish", "elu", "sine", "hardtanh", "mish"}),
        ("cheap", {"relu", "heaviside", "hardtanh"}),
    ],
)
def test_a_filter_keeps_what_has_the_property(show, flag, kept):
    browser = show("index.html")
    find(browser, f"[value={flag}]").click()
    learned = {n for n in NAMES if catalogue.lookup(n).params} if flag == "learnable" else kept
    assert set(names(browser)) == learned


def test_filters_by_year_and_family_and_the_order_work_together(show):
    browser = show("index.html")
    type_into(browser, "[name=from]", "2015")
    shown = names(browser)
    assert {"gelu", "swish"} <= set(shown) and "heaviside" not in shown
    find(browser, "[name=family] option[value=gated]").click()
    assert set(names(browser)) == {n for n in shown if catalogue.lookup(n).family == "gated"}
    find(browser, "[name=order] option[value=cost]").click()
    costs = browser.execute_script("return Object.fromEntries(CATALOGUE.map(r => [r.name, r.cost]))")
    ordered = [costs[n] for n in names(browser)]
    assert ordered == sorted(ordered) and len(set(ordered)) > 1


def test_a_slider_redraws_the_curve_as_python_computes_it(show):
    browser = show("entry/swish.html")
    before = find(browser, "svg.plot .line.k0").get_attribute("d")
    browser.execute_script(
        "const s = document.querySelector('input[type=range]'); s.value = 2.5;"
        "s.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    assert find(browser, "svg.plot .line.k0").get_attribute("d") != before
    assert float(find(browser, ".control input[type=number]").get_attribute("value")) == 2.5
    got = browser.execute_script("return [...OGIVE.found.values()][0].orders.map(f => f(0.7, [2.5]))")
    act = catalogue.lookup("swish").with_params(beta=2.5)
    assert got == pytest.approx([derivative(act, k)(0.7) for k in range(3)], rel=1e-12)
    find(browser, "button[type=reset]").click()
    waiting(browser, 5).until(lambda b: float(find(b, "input[type=range]").get_attribute("value")) == 1.0)


POINTS = (-50.0, -7.3, -3.1, -1.7, -0.83, -0.31, -1e-3, 1e-3, 0.29, 0.77, 1.9, 3.3, 6.1, 50.0)


def test_the_script_computes_every_entry_and_its_derivatives_as_python_does(browser, tmp_path):
    """f and f' to 1e-9 of themselves, f'' to 1e-9 of itself and 1e-12 of its largest value (sums that cancel)."""
    lines, want = [asset("math.js"), "window.found = {};"], {}
    before = native.enable(False)
    try:
        for name, act in catalogue.entries().items():
            p = [1.0] * (len(act.inputs) - 1) + list(act.defaults.values())
            orders = [derivative(act, k) for k in range(3)]
            texts = ",".join(function(d.expr, act.inputs, tuple(act.params)) for d in orders)
            lines.append(
                f"found[{json.dumps(name)}] = [{texts}].map(f => {list(POINTS)}.map(x => String(+f(x, {p}))));"
            )
            x = torch.tensor(POINTS, dtype=torch.float64)
            rest = [torch.ones_like(x)] * (len(act.inputs) - 1)
            want[name] = [d(x, *rest).expand(len(POINTS)).numpy() for d in orders]
    finally:
        native.enable(before)
    (tmp_path / "all.js").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "all.html").write_text("<!doctype html><meta charset=utf-8><script src=all.js></script>")
    browser.get((tmp_path / "all.html").as_uri())
    found = browser.execute_script("return window.found")
    assert set(found) == set(want)
    wrong = []
    for name, orders in want.items():
        for k, exact in enumerate(orders):
            got = np.array([float(v.replace("Infinity", "inf")) for v in found[name][k]])
            size = (
                np.abs(exact)
                if k < 2
                else np.abs(exact) + 1e-3 * np.nanmax(np.abs(exact[np.isfinite(exact)]), initial=0)
            )
            with np.errstate(invalid="ignore"):
                good = (
                    (np.abs(got - exact) <= 1e-9 * size + 1e-300) | (got == exact) | (np.isnan(got) & np.isnan(exact))
                )
            wrong += [(name, k, POINTS[i], got[i], exact[i]) for i in np.flatnonzero(~good)]
    assert wrong == []


def test_a_value_the_parameter_does_not_admit_is_refused_in_words(show):
    browser = show("entry/softplus.html")
    before = find(browser, "svg.plot .line.k0").get_attribute("d")
    type_into(browser, ".control input[type=number]", "-3")
    assert "beta takes a number" in find(browser, ".trouble").text
    assert find(browser, "svg.plot .line.k0").get_attribute("d") == before


def test_the_script_draws_the_same_picture_as_python(show):
    for name in ("relu", "gelu", "heaviside"):
        browser = show(f"entry/{name}.html")
        ys = """const p = document.querySelector('svg.plot .line.k0'), n = p.getTotalLength();
                return [.05, .3, .6, .95].map(s => { const q = p.getPointAtLength(s * n); return [q.x, q.y]; })"""
        marks = "return ['.kink', '.flat', '.dot'].map(s => document.querySelectorAll('svg.plot ' + s).length > 0)"
        drawn, marked = browser.execute_script(ys), browser.execute_script(marks)
        find(browser, "[data-reach='2']").click()
        find(browser, "[data-reach='5']").click()
        again = browser.execute_script(ys)
        assert browser.execute_script(marks) == marked
        for a, b in zip(drawn, again):
            assert a == pytest.approx(b, abs=4.0), name


def test_up_to_four_are_picked_and_compared(show):
    browser = show("index.html")
    for name in ("gelu", "relu", "silu"):
        browser.execute_script(f"document.querySelector('.tile [data-name={name}]').click()")
    assert find(browser, ".go").text == "Compare 3"
    find(browser, ".go").click()
    wait = waiting(browser, 10)
    wait.until(lambda b: len(b.find_elements("css selector", "svg.plot [data-order='0'] .line")) == 3)
    heads = [th.text for th in browser.find_elements("css selector", ".facts th[scope=col]")]
    assert heads == ["gelu", "relu", "silu"]
    type_into(browser, "[name=slot3]", "nonsense\n")
    wait.until(lambda b: "nonsense" in find(b, ".trouble").text)
    type_into(browser, "[name=slot3]", "tanh\n")
    wait.until(lambda b: b.current_url.endswith("#gelu,relu,silu,tanh"))
    assert len(browser.find_elements("css selector", "svg.plot [data-order='2'] .line")) == 4


def test_the_map_shows_what_is_pointed_at_and_lights_up_families(show):
    browser = show("map.html")
    points = browser.find_elements("css selector", "svg.map a")
    assert {p.get_attribute("data-name") for p in points} == set(NAMES) - {"swiglu"}
    browser.execute_script("document.querySelector('svg.map a[data-name=mish]').focus()")
    assert find(browser, ".preview a").text == "mish"
    type_into(browser, ".mapped input", "soft")
    assert {p.get_attribute("data-name") for p in browser.find_elements("css selector", "svg.map a.hit")} == {
        "softplus"
    }
    type_into(browser, ".mapped input", " ")
    find(browser, "[data-kind=family][data-value=gated]").click()
    lit = {p.get_attribute("data-name") for p in browser.find_elements("css selector", "svg.map a:not(.dim)")}
    assert lit == {n for n in NAMES if catalogue.lookup(n).family == "gated"}
    width = "return document.querySelector('svg.map').viewBox.baseVal.width"
    before = browser.execute_script(width)
    find(browser, "[data-zoom='1.5']").click()
    assert browser.execute_script(width) < before


def test_alike_functions_are_near_on_the_map(show):
    browser = show("map.html")
    at = {
        p.get_attribute("data-name"): [float(find(p, "circle").get_attribute(k)) for k in ("cx", "cy")]
        for p in browser.find_elements("css selector", "svg.map a")
    }

    def apart(a, b):
        return sum((u - v) ** 2 for u, v in zip(at[a], at[b])) ** 0.5

    assert apart("gelu", "mish") < apart("gelu", "tanh") > apart("tanh", "hardtanh")


def test_the_theme_follows_the_system_and_the_switch_is_remembered(show):
    def paper(browser):
        return find(browser, "body").value_of_css_property("background-color")

    light, dark = paper(show("index.html", scheme="light")), paper(show("index.html", scheme="dark"))
    assert light != dark
    browser = show("index.html", scheme="light")
    find(browser, "label[for=dark]").click()
    assert paper(browser) == dark
    assert paper(show("entry/gelu.html", scheme="light")) == dark
    find(browser, "label[for=auto]").click()
    assert paper(show("index.html", scheme="light")) == light


PAGES = ("index.html", "families.html", "map.html", "compare.html#gelu,relu", "entry/gelu.html", "entry/swish.html",
         "entry/swiglu.html", "family/gated.html")  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_but_tables_and_formulas_is_wider_than_the_window(show, page, width):
    browser = show(page, width)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    wide = browser.execute_script(
        """return [...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, .skip, svg, .formula, pre'))
           .filter(e => e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.outerHTML.slice(0, 80))"""
    )
    assert wide == []


@pytest.mark.parametrize("page", PAGES)
def test_nothing_outside_the_gallery_is_asked_for_and_no_error_logged(show, site, browser, page):
    browser.get_log("performance")
    browser.get_log("browser")
    show(page)
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = {m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"} - {"about:blank"}
    assert urls and all(url.startswith(site.as_uri()) for url in urls)
    assert browser.get_log("browser") == []


def test_the_keyboard_alone_searches_moves_and_opens(show):
    from selenium.webdriver.common.keys import Keys

    browser = show("index.html")

    def press(key):
        browser.switch_to.active_element.send_keys(key)

    press("/")
    assert browser.switch_to.active_element.get_attribute("name") == "q"
    assert browser.switch_to.active_element.get_attribute("value") == ""
    press(Keys.ARROW_DOWN)
    order = names(browser)
    at = "return document.activeElement.closest('li').dataset.name"
    assert browser.execute_script(at) == order[0]
    press(Keys.ARROW_RIGHT)
    assert browser.execute_script(at) == order[1]
    press(Keys.ARROW_DOWN)
    below = browser.execute_script(at)
    x = "return document.querySelector(`li[data-name=${arguments[0]}]`).getBoundingClientRect().left"
    assert below != order[1]
    assert browser.execute_script(x, below) == browser.execute_script(x, order[1])
    press(Keys.ENTER)
    assert browser.current_url.endswith(f"/entry/{below}.html")
    press(Keys.ARROW_RIGHT)
    after = sorted(NAMES)[sorted(NAMES).index(below) + 1]
    assert browser.current_url.endswith(f"/entry/{after}.html")
    press("/")
    assert "index.html" in browser.current_url
    assert browser.switch_to.active_element.get_attribute("name") == "q"


def test_every_control_has_a_name_and_every_picture_a_description(show):
    for page in PAGES:
        nameless = show(page).execute_script(
            """const named = e => (e.getAttribute('aria-label') || e.textContent || e.title || '').trim() ||
                 (e.labels && [...e.labels].some(l => l.textContent.trim()));
               const bad = [...document.querySelectorAll('button, a, input, select')].filter(e => !named(e));
               const pictures = [...document.querySelectorAll('svg')].filter(
                 e => e.getAttribute('aria-hidden') !== 'true' && !e.getAttribute('aria-label'));
               return [...bad, ...pictures].map(e => e.outerHTML.slice(0, 90))"""
        )
        assert nameless == [], page

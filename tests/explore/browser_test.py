"""The explorer in headless Chromium: every control, by mouse and by keyboard, wide and narrow."""

import shutil
import threading
from types import SimpleNamespace

import pytest

from vaetx_jax.explore.__main__ import open_session
from vaetx_jax.explore.session import NEIGHBOURS, SAMPLES, STEPS
from vaetx_jax.inference.loading import load
from vaetx_jax.run.metric_log import METRICS, read_metrics

pytest.importorskip("dash", reason="Dash is not installed: pip install 'vaetx-jax[explore]'")
pytest.importorskip("selenium", reason="selenium is not installed: pip install 'vaetx-jax[dev]'")

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from vaetx_jax.explore import server as server_lib

# What a page does in a browser is the same with every Python.
pytestmark = pytest.mark.slow

WAIT = 30  # seconds until a page that does not answer is a failure
WIDE, NARROW = 1280, 390
MARKUP = "<b>bold</b> <img src=x onerror=alert(1)>"
SECTIONS = ("map", "sentence", "between", "directions", "sampling", "curves")


@pytest.fixture(scope="module")
def served(trained):
    """The explorer of the tiny run, warmed up: its session and address."""
    session = open_session(load(trained), split="test", file=None, limit=30)
    session.warm_up()
    with server_lib.reserve(0) as reserved:
        port = reserved.getsockname()[1]
        app = server_lib.build_app(session, read_metrics(trained / METRICS), port=port)
        server = server_lib.listen(app, reserved)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield SimpleNamespace(session=session, address=f"http://127.0.0.1:{port}")
    server.shutdown()
    thread.join()


@pytest.fixture(scope="module")
def driver():
    """Headless Chromium; the tests are skipped where it is missing."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    control = shutil.which("chromedriver")
    if not (browser and control):
        pytest.skip("no chromium with its chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(control))
    yield driver
    driver.quit()


class Page:
    """A freshly loaded page."""

    def __init__(self, driver, served, width=WIDE):
        self.driver, self.session, self.address = driver, served.session, served.address
        self.texts = served.session.sentences.texts
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get(served.address)
        for place in ("sentence-result", "between-now", "moved", "drawn"):
            self.until(lambda place=place: self.text(place))
        self.until(lambda: self.all("#map .points .point"))

    def until(self, holds):
        return WebDriverWait(self.driver, WAIT, poll_frequency=0.05).until(lambda _: holds())

    def part(self, name):
        return self.driver.find_element(By.ID, name)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def run(self, script, *values):
        return self.driver.execute_script(script, *values)

    def text(self, name):
        """What stands in a part; asked in one go, as the part may change meanwhile."""
        return self.run("return document.getElementById(arguments[0])?.innerText ?? ''", name)

    def texts_of(self, selector):
        """The texts of all elements, in one go."""
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)"
        return self.run(script, selector)

    def value(self, name):
        return self.part(name).get_property("value")

    def write(self, name, words):
        """Types instead of what stands there, and presses Enter."""
        self.part(name).send_keys(Keys.CONTROL, "a")
        self.part(name).send_keys(words or Keys.DELETE, Keys.ENTER)

    def click(self, element):
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def tab_to(self, name, *, most=80):
        """Goes on with the Tab key alone until a part, or a child of it, has the focus."""
        for _ in range(most):
            if self.run("return document.activeElement.closest('#' + arguments[0])", name):
                return
            self.press(Keys.TAB)
        raise AssertionError(f"{name} is not reached with {most} times Tab")

    def press(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()


@pytest.fixture
def page(driver, served):
    return Page(driver, served)


def test_it_loads_from_here_alone_and_without_a_word_in_the_console(page):
    asked = page.run("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert asked
    assert not [address for address in asked if not address.startswith(f"{page.address}/")]
    assert page.driver.get_log("browser") == []


def test_a_click_on_a_point_shows_its_sentence_and_neighbours(page):
    points = page.all("#map .points .point")
    page.run("arguments[0].scrollIntoView({block: 'center'})", page.part("map"))
    before = page.value("text")
    for point in points[5:15]:  # one of them is the sentence that is shown, or lies on another
        ActionChains(page.driver).move_to_element(point).click().perform()
    page.until(lambda: page.value("text") != before)
    page.until(lambda: page.value("text") in page.text("sentence-result"))
    assert page.value("text") in page.texts
    assert len(page.all("#sentence-result button.pick")) == NEIGHBOURS
    assert page.value("text") in page.text("chosen-line")


def test_the_chosen_sentence_and_its_neighbours_have_rings(page):
    page.until(lambda: len(page.all("#map .shapelayer path")) == NEIGHBOURS + 1)


def test_the_map_is_coloured_by_the_label_that_is_chosen(page):
    fields = page.session.sentences.labels
    field = list(fields)[1]
    (radio,) = page.all(f"#colour input[value='{field}']")
    page.click(radio)
    page.until(lambda: set(page.texts_of("#map .legendtext")) == set(fields[field].names))


def test_the_legend_lies_below_the_axis_however_long_it_is(page):
    distance = page.run(
        "const map = document.querySelector('#map .js-plotly-plot');"
        "const box = name => map.querySelector(name).getBoundingClientRect();"
        "const more = Array(16).fill({y: [0], name: 'a name that leaves no room for another'});"
        "return Plotly.addTraces(map, more.map(one => ({...one})))"
        ".then(() => box('.legend').top - box('.xtitle').bottom)"
    )
    assert distance > -1


def test_a_neighbour_is_gone_on_to_by_its_button(page):
    button = page.all("#sentence-result button.pick")[2]
    text = button.text
    page.click(button)
    page.until(lambda: page.value("text") == text)


def test_the_metric_of_nearness_changes_the_scores(page):
    before = page.text("sentence-result")
    page.click(page.all("#metric input")[1])
    page.until(lambda: page.text("sentence-result") != before)


def test_a_chosen_sentence_is_taken_to_the_path(page):
    page.write("text", "i love this soup")
    page.until(lambda: "i love this soup" in page.text("sentence-result"))
    page.click(page.part("use-b"))
    page.until(lambda: page.value("between-b") == "i love this soup")
    page.click(page.part("use-a"))
    page.until(lambda: page.value("between-a") == "i love this soup")


def test_the_path_follows_its_sentences_and_its_way(page):
    expected, _ = page.session.path("i love this soup", page.texts[1], kind="linear")
    page.write("between-a", "i love this soup")
    page.until(lambda: page.texts_of("#between-all li") == expected)
    expected, _ = page.session.path("i love this soup", page.texts[1], kind="spherical")
    page.click(page.all("#between-kind input")[1])
    page.until(lambda: page.texts_of("#between-all li") == expected)


def test_markup_in_a_sentence_is_shown_as_text(page):
    page.write("text", MARKUP)
    page.until(lambda: MARKUP in page.text("sentence-result"))
    assert not page.all("#sentence-result b, #sentence-result img, #chosen-line b")


def test_bad_input_is_told_and_the_page_goes_on(page):
    page.write("between-a", "")
    page.until(lambda: page.text("between-problem") == "Type the first sentence first.")
    page.write("between-a", "a storm")
    page.until(lambda: page.text("between-problem") == "")


def test_what_is_being_computed_is_dim(page):
    opacity = "return getComputedStyle(document.getElementById('drawn')).opacity"
    with page.session._turns.turn(None):  # nobody else gets an answer
        page.click(page.part("draw"))
        page.until(lambda: float(page.run(opacity)) < 0.5)
    page.until(lambda: page.run(opacity) == "1")


def test_a_server_that_does_not_answer_is_told_until_it_does(page):
    network = {"latency": 0, "throughput": -1}
    page.driver.set_network_conditions(offline=True, **network)
    try:
        page.click(page.part("draw"))
        page.until(lambda: page.text("unanswered").startswith("The explorer does not answer."))
    finally:
        page.driver.delete_network_conditions()
    page.run("fetch('/_dash-update-component', {method: 'POST', body: 'no JSON'})")
    page.until(lambda: page.text("unanswered").endswith("(HTTP 415)"))
    page.click(page.part("draw"))
    page.until(lambda: not page.text("unanswered"))
    page.driver.get_log("browser")  # which has both


def test_long_input_is_cut_and_said_so(page):
    page.run("arguments[0].focus()", page.part("start"))
    page.driver.execute_cdp_cmd("Input.insertText", {"text": "storm " * 1_000})
    page.press(Keys.ENTER)
    page.until(lambda: "Longer than 2,000 characters" in page.text("moved"))


# By the keyboard alone, a path through each section.


def test_a_link_leads_to_its_section_by_the_keyboard(page):
    for name in SECTIONS:
        link = page.run(
            "return document.querySelector(arguments[0])", f"nav a[href='#{name}-section']"
        )
        page.run("arguments[0].focus()", link)
        page.press(Keys.ENTER)
        page.until(
            lambda name=name: page.run(
                "const box = document.getElementById(arguments[0]).getBoundingClientRect();"
                "return box.top < innerHeight && box.bottom > 0",
                f"{name}-section",
            )
        )


def test_a_sentence_of_the_map_is_found_and_chosen_by_the_keyboard(page):
    wanted = page.texts[9]
    page.tab_to("find")
    page.press(wanted)
    page.until(lambda: wanted in page.texts_of("#found button"))
    page.tab_to("found")
    page.press(Keys.ENTER)
    page.until(lambda: page.value("text") == wanted)


def test_the_colour_is_changed_by_the_keyboard(page):
    field = list(page.session.sentences.labels)[1]
    page.tab_to("colour")
    page.press(Keys.ARROW_DOWN)
    names = set(page.session.sentences.labels[field].names)
    page.until(lambda: set(page.texts_of("#map .legendtext")) == names)


def test_a_sentence_of_ones_own_is_shown_by_the_keyboard(page):
    expected = page.session.describe_text("a bad storm", metric="cosine")
    page.tab_to("text")
    ActionChains(page.driver).key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL).perform()
    page.press("a bad storm")
    page.tab_to("show")
    page.press(Keys.ENTER)
    page.until(lambda: "a bad storm" in page.text("chosen-line"))
    assert expected.reconstruction in page.text("sentence-result")


def test_the_slider_between_two_goes_by_the_keyboard(page):
    page.tab_to("between-step")
    page.press(Keys.END)
    page.until(lambda: page.text("between-now").startswith(f"Step {STEPS} of {STEPS}"))
    page.press(Keys.ARROW_LEFT)
    page.until(lambda: page.text("between-now").startswith(f"Step {STEPS - 1} of {STEPS}"))
    (now,) = page.all("#between-all [aria-current=step]")
    assert now.text in page.text("between-now")


def test_the_directions_go_and_come_back_by_the_keyboard(page):
    expected, _ = page.session.move_along("", [3.0])
    page.tab_to("direction-0")
    page.press(Keys.END)
    page.until(lambda: "At +3.00, 0" in page.text("moved"))
    assert expected in page.text("moved")
    page.tab_to("back")
    page.press(Keys.ENTER)
    page.until(lambda: "At 0, 0" in page.text("moved"))
    assert float(page.value("direction-0")) == 0


def test_samples_are_drawn_by_the_keyboard(page):
    page.tab_to("temperature")
    page.press(Keys.HOME)
    page.until(lambda: "Temperature 0.0" in page.text("drawn"))
    page.tab_to("draw")
    page.press(Keys.ENTER)
    page.until(lambda: "seed 1" in page.text("drawn"))
    expected = page.session.sample(temperature=0.0, seed=1)
    assert page.texts_of("#drawn li") == expected
    assert len(expected) == SAMPLES


def test_the_curves_have_a_table_that_opens_by_the_keyboard(page):
    page.run("document.querySelector('summary').focus()")
    page.press(Keys.ENTER)
    page.until(lambda: "validation" in page.text("curves-section"))
    assert page.all("#curves-section td")


def test_tab_reaches_every_control_and_shows_where_it_is(page):
    controls = page.run(
        "return [...document.querySelectorAll('main input, main button, main summary, nav a')]"
        ".filter(e => e.offsetParent !== null && e.type !== 'radio').length"
    )
    reached, blind = set(), []
    for _ in range(controls + 40):  # radios and the chosen sentence's link besides
        page.press(Keys.TAB)
        number, outline = page.run(
            "const e = document.activeElement;"
            "window.numbers ??= new Map(); numbers.has(e) || numbers.set(e, numbers.size);"
            "const style = getComputedStyle(e);"
            "const counts = e.matches('nav a, main :is(input:not([type=radio]), button, summary)');"
            "return [counts ? numbers.get(e) : null, style.outlineStyle + ' ' + style.outlineWidth]"
        )
        if number is not None:
            reached.add(number)
            if "none" in outline or " 0px" in outline:
                blind.append(number)
    assert len(reached) == controls
    assert not blind


# Seen otherwise.


def test_every_control_has_a_name(page):
    nameless = page.run(
        "return [...document.querySelectorAll('main input, main button')]"
        ".filter(e => e.offsetParent !== null)"
        ".filter(e => !(e.labels && e.labels.length) && !e.innerText && !e.ariaLabel)"
        ".map(e => e.outerHTML)"
    )
    assert nameless == []


def test_what_changes_is_told_to_a_screen_reader(page):
    for name in ("found", "sentence-result", "between-now", "moved", "drawn"):
        assert page.part(name).get_attribute("aria-live") == "polite"


def test_nothing_is_wider_than_a_phone(driver, served):
    page = Page(driver, served, width=NARROW)
    page.write("text", "x" * 400)  # a word that no line holds
    page.until(lambda: "xxx" in page.text("chosen-line"))
    wide = page.run(
        "return [...document.querySelectorAll('body *:not(.js-plotly-plot *)')]"
        ".filter(e => e.getBoundingClientRect().right > arguments[0] + 0.5)"
        ".map(e => e.outerHTML.slice(0, 100))",
        NARROW,
    )
    assert wide == []
    assert page.run("return document.documentElement.scrollWidth") <= NARROW


def test_text_is_large_enough_to_read_on_a_phone(driver, served):
    page = Page(driver, served, width=NARROW)
    small = page.run(
        "return [...document.querySelectorAll('p, li, label, button, input, h2, .soft')]"
        ".filter(e => parseFloat(getComputedStyle(e).fontSize) < 13).map(e => e.outerHTML)"
    )
    assert small == []

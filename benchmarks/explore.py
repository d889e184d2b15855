"""How soon the explorer answers, from a key or a click to the answer, in headless Chromium.

    python -m benchmarks.explore --workdir=runs/sst2

It starts the explorer itself, works every control `--rounds` times after its warm-up, and prints
milliseconds: from the browser's event to the end of the last answer that followed it. Needs
`pip install 'vaetx-jax[dev]'`, Chromium and chromedriver.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from absl import flags
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from benchmarks.process import run
from vaetx_jax.errors import UserError

_WORKDIR = flags.DEFINE_string("workdir", None, "The folder of a trained run.", required=True)
_ROUNDS = flags.DEFINE_integer("rounds", 20, "Times that each control is worked.", lower_bound=1)
_JSON = flags.DEFINE_string("json", "", "A file for the results.")

# Notes when the user's event came and when the last answer to it had come; quiet is 150 ms without.
WATCH = """
window.watched = {pending: 0, ends: 0, event: null};
for (const kind of ['keydown', 'click', 'input']) {
  document.addEventListener(kind, () => {
    if (watched.event === null) watched.event = performance.now();
  }, true);
}
const ask = window.fetch;
window.fetch = async (...given) => {
  watched.pending += 1;
  const answer = await ask(...given);
  await answer.clone().text();
  watched.pending -= 1;
  watched.ends = performance.now();
  return answer;
};
"""
QUIET = """
return watched.event !== null && watched.pending === 0 && watched.ends > watched.event
  && performance.now() - watched.ends > 150 ? watched.ends - watched.event : null;
"""


def explorer() -> Iterator[str]:
    """Starts the explorer; its address once it is ready; stops it at the end."""
    command = [sys.executable, "-u", "-m", "vaetx_jax.explore"]
    process = subprocess.Popen(
        [*command, f"--workdir={_WORKDIR.value}", "--port=0"], stdout=subprocess.PIPE, text=True
    )
    try:
        for line in process.stdout or ():
            if found := re.search(r"ready: (\S+)", line):
                yield found[1]
                return
        raise UserError("the explorer did not start; it says why above")
    finally:
        process.terminate()
        process.wait()


def browser() -> Any:
    """Headless Chromium with a window of a laptop's size."""
    driver = shutil.which("chromedriver")
    if not driver:
        raise UserError("chromedriver is missing: install Debian's chromium-driver")
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--window-size=1280,900"):
        options.add_argument(argument)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


def answer_ms(driver: Any, act: Callable[[], None]) -> float:
    """Milliseconds from the event that `act` causes to the end of what it asked for."""
    driver.execute_script("watched.event = null;")
    act()
    waiting = WebDriverWait(driver, 60, poll_frequency=0.05)
    return float(waiting.until(lambda d: d.execute_script(QUIET)))


def actions(driver: Any) -> dict[str, Callable[[int], None]]:
    """What a user does, by name: each takes the number of the round."""

    def part(name: str) -> Any:
        return driver.find_element(By.ID, name)

    def write(name: str, text: str) -> None:
        part(name).clear()
        part(name).send_keys(text)
        driver.execute_script("watched.event = null;")
        part(name).send_keys(Keys.ENTER)

    def point(number: int) -> None:
        points = driver.find_elements(By.CSS_SELECTOR, "#map .points .point")
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", part("map"))
        ActionChains(driver).move_to_element(points[(37 * number) % len(points)]).click().perform()

    def press(name: str) -> None:
        driver.execute_script("arguments[0].click()", part(name))

    def slide(name: str, number: int) -> None:
        part(name).send_keys(Keys.ARROW_RIGHT if number % 8 < 4 else Keys.ARROW_LEFT)

    return {
        "a point of the map": point,
        "a sentence of one's own": lambda n: write("text", f"the film is {n} times too long ."),
        "two sentences": lambda n: write("between-b", f"a story told in {n} words ."),
        "their slider": lambda n: slide("between-step", n),
        "a direction's slider": lambda n: slide(f"direction-{n % 3}", n),
        "four samples": lambda n: press("draw"),
        "finding by a word": lambda n: part("find").send_keys("the a film"[n % 10]),
    }


def measure(address: str) -> dict[str, dict[str, float]]:
    """Median, nine tenths and longest of every action, milliseconds."""
    driver = browser()
    try:
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        driver.get(address)
        loaded = WebDriverWait(driver, 60)
        loaded.until(lambda d: d.find_elements(By.CSS_SELECTOR, "#map .points .point"))
        loaded.until(lambda d: d.find_elements(By.CSS_SELECTOR, "#drawn li"))
        results = {}
        for name, act in actions(driver).items():
            taken = [answer_ms(driver, lambda n=n, a=act: a(n)) for n in range(_ROUNDS.value)]
            results[name] = {
                "median": float(np.median(taken)),
                "90%": float(np.quantile(taken, 0.9)),
                "longest": float(np.max(taken)),
            }
        return results
    finally:
        driver.quit()


def main() -> None:
    """Prints the table and writes the results."""
    for address in explorer():
        results = measure(address)
    print(f"{'':26}{'median':>9}{'90%':>9}{'longest':>9}   (milliseconds)")
    for name, row in results.items():
        print(f"{name:26}" + "".join(f"{value:9.0f}" for value in row.values()))
    load, cores = os.getloadavg()[0], os.cpu_count()
    print(f"{_ROUNDS.value} rounds on {cores} cores; load of the machine {load:.1f}")
    if _JSON.value:
        pathlib.Path(_JSON.value).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    run(main)

"""The page in a browser, where there is one: a file, the slider, the words and the microphone."""

import shutil
import time

import numpy as np
import pytest
import soundfile

webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no Chromium")
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]


class Page:
    """A tab with the page."""

    def __init__(self, driver):
        self.driver = driver

    def find(self, name):
        return self.driver.find_element("id", name)

    def until(self, condition):
        """Wait for a condition, and return what it returns."""
        end = time.monotonic() + 20
        while not (found := condition()):
            assert time.monotonic() < end, self.find("error").text or self.find("status").text
            time.sleep(0.02)
        return found

    def words(self, status):
        """Words with their times, once the status says so much."""
        self.until(lambda: status in self.find("status").text)
        return [node.text.split("\n") for node in self.driver.find_elements("class name", "word")]

    def marked(self, name):
        return [node.text.split("\n")[0] for node in self.driver.find_elements("css selector", name)]


@pytest.fixture(scope="module")
def microphone(speech, tmp_path_factory):
    """What the browser hears, again and again."""
    path = tmp_path_factory.mktemp("microphone") / "speech.wav"
    samples, rate = soundfile.read(speech[0])
    soundfile.write(path, np.repeat(samples, 3), 3 * rate, subtype="PCM_16")
    return path


@pytest.fixture
def page(server, microphone, tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        *FLAGS,
        f"--user-data-dir={tmp_path}",
        f"--use-file-for-fake-audio-capture={microphone}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.get(server.url)
    page = Page(driver)
    page.until(lambda: page.find("model").text == "tiny")
    yield page
    driver.quit()


def test_the_page(page, asr, speech, tmp_path):
    (tmp_path / "bad.wav").write_text("no audio")
    trained, deeper = (next(asr.transcribe([speech[0]], loops)).words for loops in (3, 4))
    seen = [[word.text, f"{word.start:.2f}"] for word in trained]
    assert page.find("words").text.startswith("The words of a recording")

    page.find("file").send_keys(str(speech[0]))
    assert page.words("3 loops, greedy") == seen
    time_at_three, adds = page.find("time").text, page.find("adds").text
    assert page.marked(".changed") == []

    page.find("depth").send_keys(webdriver.Keys.ARROW_RIGHT)
    assert page.words("4 loops, greedy") == [[word.text, f"{word.start:.2f}"] for word in deeper]
    assert page.find("adds").text != adds
    assert "changed since 3 loops" in page.find("since").text
    texts = [word.text for word in trained]
    assert set(page.marked(".changed")) - set(texts)
    assert len(texts) - len(page.marked("del")) == len(deeper) - len(page.marked(".changed"))

    page.find("depth").send_keys(webdriver.Keys.ARROW_LEFT)  # seen before: the same answer
    assert page.words("3 loops, greedy") == seen
    assert page.find("time").text == time_at_three

    page.driver.find_elements("class name", "word")[-1].click()
    position = page.driver.execute_script("return document.getElementById('player').currentTime")
    assert position >= trained[-1].start - 0.01

    page.find("file").send_keys(str(tmp_path / "bad.wav"))
    page.until(lambda: "bad.wav cannot be read as audio" in page.find("error").text)

    page.find("record").click()
    page.until(lambda: "scaleX(0." in page.find("level").get_attribute("style"))
    page.until(lambda: page.find("clock").text == "0:02")
    page.find("record").click()
    assert page.words("3 loops, greedy") != seen
    assert page.find("error").text == ""
    assert "recording of 0:0" in page.find("name").text

    said = [entry["message"] for entry in page.driver.get_log("browser")]
    assert [line for line in said if "400 (Bad Request)" not in line] == []

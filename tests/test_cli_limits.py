"""Limits, webhooks and commands as they are typed: refused before anything is started, or shown and kept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.paths import ExperimentPaths
from tests.conftest import Laboratory, wait_until
from tests.engine.test_notify import SECRET, Hook
from tests.test_cli import EXPERIMENT, HOSTILE
from tui import limit_options, settings
from tui.cli import main, parsed


class Typed:
    """`steptop` in a folder with an experiment of one's own, in this process; supervisors and trainers are real."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys

    def __call__(self, *words: str, code: int = 0) -> str:
        """What it says; errors too."""
        self._capsys.readouterr()
        try:
            found = main(words)
        except SystemExit as refused:
            found = int(str(refused.code))
        said = self._capsys.readouterr()
        assert found == code, said.out + said.err
        assert "\x1b" not in said.out + said.err
        return said.out + said.err

    def status(self) -> dict[str, Any]:
        return json.loads(self("status", "--json"))  # type: ignore[no-any-return]


def stand(
    folder: Path, lab: Laboratory, monkeypatch: pytest.MonkeyPatch, names: Sequence[str], experiment: str = EXPERIMENT,
    **world: str,
) -> None:
    """In a folder with an experiment of one's own. `names` of those that will be trained there; `world`: variables
    beside those that make its trainings short."""
    lab.folders += [folder / "logs" / name for name in names]
    (folder / "experiments").mkdir()
    (folder / "experiments" / "fake.toml").write_text(experiment)
    monkeypatch.chdir(folder)
    short = {"FAKE_EPOCHS": "2", "FAKE_STEPS": "10", "FAKE_STEP_SECONDS": "0.01"}
    for name, value in (short | world).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def steptop(
    tmp_path: Path, lab: Laboratory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Typed:
    stand(tmp_path, lab, monkeypatch, ("fake", "other"), TZ="UTC", XDG_CONFIG_HOME=str(tmp_path / "config"))
    for name in ("SLURM_JOB_ID", "KAGGLE_KERNEL_RUN_TYPE", "COLAB_RELEASE_TAG"):
        monkeypatch.delenv(name, raising=False)
    return Typed(tmp_path, capsys)


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--until", "12"), "such as 90m, 12h or 1d6h"),
        (("--until", HOSTILE), "such as 90m, 12h or 1d6h"),
        (("--deadline", "2020-01-01T00:00"), "has passed"),
        (("--deadline", "2027-02-30T08:00"), "there is no such time"),
        (("--budget", "25"), "say the currency too"),
        (("--budget", "25USD"), "say what an hour costs with --price"),
        (("--budget", "25EUR", "--price", "2USD"), "steptop converts no currencies"),
        (("--price", "2USD"), "it is the price of a --budget"),
        (("--session-limit", "long"), "--session-limit 'long'"),
        (("--on-finish", "echo a && poweroff"), "no shell runs it"),
        (("--on-finish", "no-such-program"), "there is no such program here"),
        (("--on-finish-always",), "there is no --on-finish command"),
        (("--notify", f"ftp://host/{SECRET}"), "cannot be posted to"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_nothing_is_started(
    steptop: Typed, words: tuple[str, ...], said: str
) -> None:
    done = steptop("run", "fake", *words, code=2)
    assert said in done
    assert SECRET not in done
    assert not list((steptop.folder / "logs").iterdir())


def test_a_limit_is_said_before_the_launch_shown_while_it_trains_and_changed(
    steptop: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.05")
    monkeypatch.setenv("FAKE_STEPS", "400")
    done = steptop("run", "fake", "--until", "12h", "--budget", "25USD", "--price", "1USD")
    assert "at the latest: its time limit (12 h)" in done
    assert "limit: later, ends by" in done
    assert "how many runs fit is not known yet; no earlier run of this kind" in done
    assert "an hour costs 1 USD (as given)" in done
    wait_until(lambda: (seen := steptop.status()["limit"]) is not None and seen["runs_fit"] == 2, what="what fits")
    seen = steptop.status()["limit"]
    assert (seen["kind"], seen["text"], seen["sentence"]) == ("time", "time limit (12 h)", "all 2 runs fit")
    assert (seen["budget"], seen["currency"], seen["hourly"]) == (25, "USD", 1)
    assert seen["also"] == ["budget (25 USD)"]
    assert 0 <= seen["spent"] < 0.1
    text = steptop("status")
    assert "(time limit, 12 h): all 2 runs fit" in text
    assert "of 25 USD spent" in text
    said = steptop("limit", "--until", "30s")
    assert "(time limit, 30 s)" in said
    assert "2 runs" in said and "too late" in said
    shown = steptop("limit")
    assert "(time limit, 30 s): 0 of 2 runs fit" in shown
    moment = r"fake: ends by [A-Z][a-z]{2} \d+ [A-Z][a-z]{2} \d\d:\d\d at the latest"
    assert re.search(moment, said) and re.search(moment, shown), "one way to say when, asked for and shown"
    assert "leave one of them out" in steptop("limit", "--none", "--until", "1h", code=2)
    assert "--readonly" in steptop("--readonly", "limit", "--none", code=2)
    assert "no limit now" in steptop("limit", "--none")
    assert steptop.status()["limit"] is None
    steptop("stop", "--force")
    wait_until(lambda: steptop.status()["state"] == "stopped", what="the stop")
    assert "`steptop resume fake --until 12h` goes on" in steptop("limit", "--until", "1h", code=2)
    assert "fake: no limit; it is stopped" in steptop("limit")
    assert "leave one of them out" in steptop("resume", "--no-limit", "--until", "1h", code=2)
    assert "name the command too" in steptop("resume", "--on-finish-always", code=2)
    said = steptop("resume", "--until", "25s", "--budget", "1EUR", "--price", "1EUR", "--partial-runs", "yes")
    assert "its time limit (25 s)" in said and "0 of 2 runs fit" in said and "too late" in said
    wait_until(lambda: steptop.status()["state"] == "running", what="the resume")
    steptop("stop", "--force")
    wait_until(lambda: steptop.status()["state"] == "stopped", what="the stop")
    assert "fake: it is stopped; its time limit (25 s) had" in steptop("limit")


def test_addresses_of_webhooks_are_shown_nowhere(steptop: Typed, hook: Hook) -> None:
    """Neither one that is typed nor one of the settings file: not in the manifest, the status, the log or the plan."""
    config = steptop.folder / "config" / "steptop" / "settings.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'notify = ["{hook.url}"]\n')
    done = steptop("run", "fake", "--wait", "--on-finish", f'["echo", "told {hook.url}"]')
    assert SECRET not in done
    wait_until(lambda: hook.events() == ["finished"], what="the message")
    paths = ExperimentPaths(steptop.folder / "logs" / "fake")
    host = hook.url.removesuffix(f"/{SECRET}")
    assert json.loads(paths.manifest.read_text())["command"][-1].startswith(f'["echo", "told {host}')
    assert SECRET not in paths.manifest.read_text()
    assert SECRET not in json.dumps(steptop.status())
    assert limit_options.addresses(parsed(["run", "fake", "--notify", "off"])) == ()
    assert limit_options.addresses(parsed(["run", "fake"])) is None


def test_a_settings_file_that_says_nonsense_is_named(steptop: Typed) -> None:
    config = steptop.folder / "config" / "steptop" / "settings.toml"
    config.parent.mkdir(parents=True)
    config.write_text("notify = 3\n")
    assert f"{config}: notify is a list of addresses" in steptop("run", "fake", code=2)
    config.write_text('on_finish = "echo a; poweroff"\n')
    assert f"{config}: on_finish" in steptop("run", "fake", code=2)


def test_the_screen_keeps_what_it_does_not_know_in_the_settings_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('# mine\nnotify = ["https://host/x"]  # phone\nalerts = "bell"\n')
    found = settings.load(file)
    assert found.alerts == "bell"
    settings.save(file, settings.Settings(theme="light", interval=2.0))
    assert limit_options.settings_addresses(file) == ("https://host/x",)
    assert "# mine" in file.read_text() and "# phone" in file.read_text()
    assert settings.load(file) == settings.Settings(theme="light", interval=2.0, alerts="bell")


def test_a_command_line_is_written_down_without_addresses() -> None:
    words = ["run", "x", "--notify", f"https://host:8443/{SECRET}?k=1", f"--notify=http://h/{SECRET}", "--data", "/d"]
    assert limit_options.unsaid(words) == (
        "run", "x", "--notify", "https://host:8443", "--notify=http://h", "--data", "/d",
    )

"""A machine that kills at logout is recognised from its files, and lingering users are left in peace."""

from __future__ import annotations

from pathlib import Path

from engine.machine.logout import warning


def machine(root: Path, conf: str, dropin: str = "", linger: bool = False) -> str:
    (root / "etc/systemd/logind.conf.d").mkdir(parents=True)
    (root / "var/lib/systemd/linger").mkdir(parents=True)
    (root / "etc/systemd/logind.conf").write_text(conf)
    if dropin:
        (root / "etc/systemd/logind.conf.d/10-site.conf").write_text(dropin)
    if linger:
        (root / "var/lib/systemd/linger/ada").touch()
    return warning(root, "ada")


def test_a_machine_that_kills_at_logout_is_warned_about(tmp_path: Path) -> None:
    assert "enable-linger" in machine(tmp_path, "[Login]\nKillUserProcesses=yes\n")


def test_a_commented_line_and_a_missing_file_mean_no(tmp_path: Path) -> None:
    assert machine(tmp_path, "[Login]\n#KillUserProcesses=yes\n") == ""
    assert warning(tmp_path / "nothing", "ada") == ""


def test_a_drop_in_has_the_last_word(tmp_path: Path) -> None:
    assert machine(tmp_path, "[Login]\nKillUserProcesses=yes\n", "[Login]\nKillUserProcesses=no\n") == ""


def test_a_lingering_user_is_safe(tmp_path: Path) -> None:
    assert machine(tmp_path, "[Login]\nKillUserProcesses=yes\n", linger=True) == ""

"""How many cores, processes and bytes a control group leaves, read from trees as kernels lay them out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.machine import cgroup, cores
from engine.machine.cores import Machine, crowded, gpu_count, too_many
from engine.runs.devices import share


class Tree:
    """A machine's files under a folder: /proc/self and the mounts."""

    def __init__(self, folder: Path, groups: str, mounts: list[str]) -> None:
        self.root = folder
        self.proc = folder / "proc"
        self.proc.mkdir()
        (self.proc / "cgroup").write_text(groups)
        (self.proc / "mountinfo").write_text("\n".join(mounts) + "\n")

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def machine(self, scheduled: int | None = None) -> Machine:
        return cores.machine(self.proc, self.root, scheduled)


V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"


def unified(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path, "0::/slurm/job_7/step_0\n", ["1 0 8:1 / / rw - ext4 /dev/sda rw", V2])
    tree.write("sys/fs/cgroup/slurm/job_7/step_0/cpu.max", "max 100000\n")
    return tree


def test_the_smallest_quota_on_the_way_up_counts(tmp_path: Path) -> None:
    tree = unified(tmp_path)
    assert cgroup.cpus(tree.proc, tree.root) is None
    tree.write("sys/fs/cgroup/slurm/cpu.max", "800000 100000\n")
    tree.write("sys/fs/cgroup/slurm/job_7/cpu.max", "150000 100000\n")
    quota = cgroup.cpus(tree.proc, tree.root)
    assert quota is not None and quota.most == 1.5 and quota.file.endswith("job_7/cpu.max")
    assert tree.machine().cores == 1
    tree.write("sys/fs/cgroup/slurm/job_7/cpu.max", "25000 100000\n")
    assert tree.machine().cores == 1


def test_a_quota_larger_than_the_machine_changes_nothing(tmp_path: Path) -> None:
    tree = unified(tmp_path)
    tree.write("sys/fs/cgroup/slurm/job_7/cpu.max", "99900000 100000\n")
    assert tree.machine().cores == len(os.sched_getaffinity(0))
    assert "grants" not in tree.machine().said


def test_version_one_in_a_container_whose_paths_are_those_of_its_host(tmp_path: Path) -> None:
    tree = Tree(
        tmp_path, "4:cpu,cpuacct:/docker/abc\n3:pids:/docker/abc\n2:memory:/docker/abc\n1:name=systemd:/docker/abc\n",
        [
            "40 39 0:30 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct",
            "41 39 0:31 /docker/abc /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids",
            "42 39 0:32 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory",
        ],
    )
    tree.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n")
    tree.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    tree.write("sys/fs/cgroup/pids/pids.max", "64\n")
    tree.write("sys/fs/cgroup/pids/pids.current", "40\n")
    tree.write("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", f"{8 << 30}\n")
    tree.write("sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes", f"{6 << 30}\n")
    tree.write("sys/fs/cgroup/memory/docker/abc/memory.stat", f"cache 1\ntotal_inactive_file {2 << 30}\n")
    tree.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    tree.write("sys/fs/cgroup/memory/memory.usage_in_bytes", f"{60 << 30}\n")
    machine = tree.machine()
    assert (machine.cores, machine.quota and machine.quota.most) == (1, 0.5)
    assert machine.pids is not None and machine.pids.free == 24
    memory = cgroup.memory(tree.proc, tree.root)
    assert memory is not None and memory.free == 4 << 30


def test_without_quota_or_limit_nothing_is_said(tmp_path: Path) -> None:
    tree = Tree(tmp_path, "1:cpu:/\n0::/\n", ["40 39 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu"])
    tree.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    tree.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert (tree.machine().quota, tree.machine().pids) == (None, None)
    (tmp_path / "bare").mkdir()
    assert Tree(tmp_path / "bare", "", []).machine().cores == len(os.sched_getaffinity(0))


def test_this_machine_can_be_asked() -> None:
    assert 1 <= cores.machine().cores <= len(os.sched_getaffinity(0))
    assert cores.machine().count("gpus") >= 0


@pytest.mark.parametrize(("shown", "most"), [("", 0), ("-1", 0), ("0,-1,1", 1), ("NoDevFiles", 1), ("0,1,2", 3)])
def test_hidden_gpus_do_not_count(shown: str, most: int) -> None:
    assert gpu_count({"CUDA_VISIBLE_DEVICES": shown}) <= min(most, gpu_count({}))


PIDS = cgroup.Limit(64, 40, "/sys/fs/cgroup/pids.max")
QUOTA = cgroup.Limit(2.5, 0, "/sys/fs/cgroup/cpu.max")


def test_more_workers_than_the_group_has_threads_for_are_refused_with_the_sum() -> None:
    machine = Machine(cores=64, scheduled=64, pids=PIDS)
    assert too_many(6, machine) == ""
    assert too_many(7, machine) == (
        "7 workers × 4 threads = 28, and the cgroup allows 24 more (/sys/fs/cgroup/pids.max: 64, 40 are there). At most 6"
    )


def test_more_workers_than_the_quota_pays_for_are_refused() -> None:
    machine = Machine(cores=2, scheduled=64, quota=QUOTA)
    assert too_many(3, machine) == ""
    assert "4 workers on 2.5 CPUs" in too_many(4, machine) and "At most 3" in too_many(4, machine)
    assert machine.said == "2 cores (of 64: cpu.max grants 2.5)"


def test_two_runs_side_by_side_in_a_container_share_its_quota_and_not_the_machines_cores(tmp_path: Path) -> None:
    tree = unified(tmp_path)
    tree.write("sys/fs/cgroup/slurm/job_7/cpu.max", "200000 100000\n")
    tree.write("sys/fs/cgroup/slurm/job_7/pids.max", "64\n")
    tree.write("sys/fs/cgroup/slurm/job_7/pids.current", "48\n")
    one = share(tree.machine(64), 2)
    assert one.said == "1 core (of 64: cpu.max grants 2, for 2 runs)"
    assert too_many(1, one) == "" and too_many(2, tree.machine(64)) == ""
    assert "2 workers on 2 CPUs of time, for 2 runs" in too_many(2, one) and too_many(2, one).endswith("At most 1")
    assert "the cgroup allows 16 more, for 2 runs" in too_many(3, one) and too_many(3, one).endswith("At most 2")


def test_more_than_cores_is_a_word_of_warning_and_more_than_four_times_an_error() -> None:
    machine = Machine(cores=4, scheduled=4)
    assert crowded(4, machine) == "" and "5 workers on 4 cores" in crowded(5, machine)
    assert too_many(16, machine) == "" and "At most 16" in too_many(17, machine)
    assert too_many(0, Machine(pids=cgroup.Limit(1, 1, "x"))) == ""

"""The agent's parts by themselves."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import stat
import struct
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gridfare.agent import benchmark, checks, drain, facts, join, procfs, selftest, workspace
from gridfare.agent.__main__ import main
from gridfare.agent.capacity import Appetite, Capacity, Device
from gridfare.agent.chaos import Chaos
from gridfare.agent.executors import seccomp
from gridfare.agent.files import checked_path, disk_usage, open_beneath, open_file_beneath, remove_tree
from gridfare.agent.holdings import Holdings
from gridfare.agent.home import Accelerator, Home, HomeError
from gridfare.agent.identity import load_or_create_identity
from gridfare.agent.logs import AttemptLog, LogShipper, Stream
from gridfare.agent.model import DeviceNeed, Lease, Need, OutputGlob, SpecError, read_lease, read_spec
from gridfare.agent.outbox import Outbox, canonical
from gridfare.agent.outputs import collect, matches
from gridfare.agent.protocol import Clock, ProtocolError, Signer
from gridfare.agent.reasons import AttemptEnded, one_line

from .platform import Platform, spec

# -- identity and outbox --------------------------------------------------------------------------------------------


def test_the_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    first, second = load_or_create_identity(path), load_or_create_identity(path)
    assert first.public_key == second.public_key
    assert len(base64.b64decode(first.public_key)) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_request_is_signed_over_method_target_time_and_body(tmp_path: Path) -> None:
    identity = load_or_create_identity(tmp_path / "key.pem")
    url = httpx.URL("http://host/agent/v1/sync?a=1&b=%20")
    header = Signer(identity, "agent-1", Clock(5000)).header("POST", url, b"{}")
    name, moment, signature = header.removeprefix("Gridfare ").split(":")
    body = hashlib.sha256(b"{}").hexdigest()
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(identity.public_key))
    key.verify(base64.b64decode(signature), f"POST\n/agent/v1/sync?a=1&b=%20\n{moment}\n{body}".encode())
    assert name == "agent-1"


def test_canonical_json_is_sorted_tight_and_unescaped() -> None:
    assert canonical([{"b": "算力", "a": [1, None]}]) == '[{"a":[1,null],"b":"算力"}]'


def outbox(folder: Path) -> Outbox:
    """The outbox of an agent whose home is a folder."""
    return Outbox(folder / "outbox.json", load_or_create_identity(folder / "key.pem"), folder / "rejected")


def item(number: int) -> dict[str, object]:
    """A report."""
    return {"attempt": number, "fence": 1, "outcome": "done"}


def test_batches_are_chained_by_digest_and_signed(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    first = box.put([item(1)])
    assert box.accept(1)
    second = box.put([item(2)])
    document = json.loads(second.to_json())
    assert (first.seq, first.prev, second.seq, second.prev) == (1, "", 2, first.digest)
    assert document["digest"] == hashlib.sha256((first.digest + canonical([item(2)])).encode()).hexdigest()
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(box.identity.public_key))
    key.verify(base64.b64decode(document["signature"]), document["digest"].encode())


def test_an_unaccepted_batch_survives_a_crash_word_for_word(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    box.put([item(1)])
    box.accept(1)
    sent = box.put([item(2), {**item(3), "detail": "算力"}])
    again = outbox(tmp_path).batch
    assert again == sent


def test_only_the_number_that_was_sent_is_accepted(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    box.put([item(1)])
    assert not box.accept(None)
    assert not box.accept(2)
    assert box.batch is not None


def test_a_rejected_batch_is_set_aside_and_the_chain_goes_on_without_it(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    first = box.put([item(1)])
    box.accept(1)
    box.put([item(2)])
    box.reject()
    reopened = outbox(tmp_path)
    assert reopened.batch is None
    following = reopened.put([item(3)])
    assert (following.seq, following.prev) == (2, first.digest)
    assert len(list((tmp_path / "rejected").iterdir())) == 1


# -- capacity -------------------------------------------------------------------------------------------------------


def test_devices_are_picked_by_model_and_size_and_given_back() -> None:
    devices = [Device(0, "A100", 40960), Device(1, "A100", 81920), Device(2, "T4", 15360)]
    capacity = Capacity(8, 1000, 1000, devices)
    small = Need(1, 1, 1, (DeviceNeed("A100", 1, 0),))
    large = Need(1, 1, 1, (DeviceNeed("A100", 1, 60_000),))
    taken = capacity.take(small)
    assert [device.index for device in taken] == [0]
    assert capacity.fits(large)
    assert not capacity.fits(Need(1, 1, 1, (DeviceNeed("A100", 2, 0),)))
    capacity.give_back(small, taken)
    assert capacity.fits(Need(1, 1, 1, (DeviceNeed("", 3, 0),)))
    assert not capacity.fits(Need(1, 1, 1, (DeviceNeed("H100", 1, 0),)))


def test_short_units_are_fetched_ahead_and_long_ones_are_not() -> None:
    appetite = Appetite(slots=4)
    assert appetite.want(held=0) == 4
    appetite.learn(0.01)
    assert appetite.want(held=4) == 400
    assert Appetite(slots=4, seconds=0.0001).goal() == 2000
    assert Appetite(slots=4, seconds=30.0).want(held=4) == 0
    assert Appetite(slots=4, seconds=30.0).want(held=9) == 0


# -- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/a", "../a", "a/..", "a//b", "./a", "a/./b", "a\nb", "a\\b", "x" * 256, "a\0b"])
def test_paths_that_may_leave_their_folder_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="not a path"):
        checked_path(path)


def test_nothing_is_opened_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "top" / "folder").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "top" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "top" / "away").symlink_to(tmp_path)
    (tmp_path / "top" / "folder" / "file").write_text("mine")
    os.mkfifo(tmp_path / "top" / "pipe")
    root = os.open(tmp_path / "top", os.O_RDONLY | os.O_DIRECTORY)
    for path in ("link", "away/secret", "folder/../../secret"):
        with pytest.raises(OSError, match=r".*"):
            os.close(open_beneath(root, path) if ".." not in path else open_beneath(root, "away/top/link"))
    with pytest.raises(ValueError, match="regular"):
        open_file_beneath(root, "pipe")
    with os.fdopen(open_file_beneath(root, "folder/file")) as reading:
        assert reading.read() == "mine"
    os.close(root)


def test_a_folder_that_a_program_locked_is_deleted_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("kept")
    locked = tmp_path / "work" / "a" / "b"
    locked.mkdir(parents=True)
    (locked / "file").write_text("x")
    (tmp_path / "work" / "link").symlink_to(tmp_path / "kept")
    for folder in (locked, locked.parent):
        folder.chmod(0)
    remove_tree(tmp_path / "work")
    assert not (tmp_path / "work").exists()
    assert (tmp_path / "kept" / "file").read_text() == "kept"


def test_disk_usage_counts_blocks_and_entries_and_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "f").write_bytes(b"x" * 100_000)
    (tmp_path / "root").symlink_to("/")
    used, entries = disk_usage(str(tmp_path))
    assert 100_000 <= used < 200_000
    assert entries == 3


@pytest.mark.parametrize(
    ("pattern", "path", "hit"),
    [
        ("*.png", "a.png", True),
        ("*.png", "d/a.png", False),
        ("*.png", "axpng", False),
        ("frames/*.png", "frames/0001.png", True),
        ("**/*.png", "a.png", True),
        ("**/*.png", "d/e/a.png", True),
        ("d/**/a.txt", "d/a.txt", True),
        ("d/**", "d/e/f", True),
        ("d/**", "d", False),
        ("**", "any/thing", True),
        ("f[0-9].txt", "f7.txt", True),
        ("f[!0-9].txt", "f7.txt", False),
        ("f[]a].txt", "f].txt", True),
        ("f?.txt", "f/.txt", False),
        ("a+b(c).txt", "a+b(c).txt", True),
        ("**", "task.json", False),
        ("*", "progress", False),
        ("progress", "progress", True),
        ("d/*[!x]*", "d/e/f", False),
    ],
)
def test_globs_mean_what_a_shell_means(pattern: str, path: str, hit: bool) -> None:
    assert matches(pattern, path) is hit


def test_results_are_hashed_in_order_and_private_folders_are_left_out(tmp_path: Path) -> None:
    for path in ("b.txt", "a.txt", "in/secret.txt", ".gridfare/cache.txt", "d/c.txt"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(path)
    found = collect(str(tmp_path), (OutputGlob("**/*.txt", True),), 1)
    assert [output.path for output in found] == ["a.txt", "b.txt", "d/c.txt"]
    assert found[0].sha256 == hashlib.sha256(b"a.txt").hexdigest()


def test_a_result_whose_name_is_not_text_fails_the_unit_and_not_the_agent(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.txt")).write_text("x")
    with pytest.raises(AttemptEnded, match="cannot be delivered"):
        collect(str(tmp_path), (OutputGlob("*.txt", True),), 1)


def test_a_folder_serves_again_only_when_a_program_left_it_as_it_was(tmp_path: Path) -> None:
    folders = workspace.Folders(tmp_path)
    lease = Lease(1, 1, read_spec(spec(["true"])), 0, None, ())
    first = folders.create(lease)
    assert folders.take_back(first)
    assert folders.create(lease) == first
    Path(first, "left").write_text("x")
    assert not folders.take_back(first)
    Path(first, "left").unlink()
    os.link(f"{first}/task.json", tmp_path / "second-name")
    assert not folders.take_back(first)
    assert folders.create(lease) != first


def test_a_folder_that_serves_again_tells_the_new_unit_alone(tmp_path: Path) -> None:
    folders = workspace.Folders(tmp_path)
    long, short = (Lease(1, 1, read_spec(spec(["true"])), 0, params, ()) for params in ({"x": "y" * 500}, {"x": "z"}))
    assert folders.take_back(folders.create(long))
    assert Path(folders.create(short), "task.json").read_bytes() == workspace.task_document(short)


def test_progress_is_a_number_between_0_and_1_or_nothing(tmp_path: Path) -> None:
    for text, expected in [("0.5\n", 500_000), ("1", 1_000_000), ("2", None), ("nan", None), ("x", None), ("", None)]:
        (tmp_path / "progress").write_text(text)
        assert workspace.read_progress(str(tmp_path)) == expected
    (tmp_path / "progress").unlink()
    (tmp_path / "progress").symlink_to("/proc/self/stat")
    assert workspace.read_progress(str(tmp_path)) is None


# -- specs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"run": []},
        {"run": "true"},
        {"env": {"A=B": "x"}},
        {"env": {"A": 1}},
        {"program": {"sha256": "../../etc", "bytes": 1}},
        {"environment": {"requirements": "", "sha256": "short"}},
        {"outputs": [{"path": "../../*"}]},
        {"files": [{"path": "task.json", "sha256": "0" * 64, "bytes": 1}]},
        {"total": "many"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_spec_that_no_honest_platform_sends_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(SpecError):
        read_spec(spec(["true"]) | changes)


def test_a_lease_whose_attempt_could_be_a_path_is_refused() -> None:
    with pytest.raises(SpecError):
        read_lease(["../1", 1, "spec", 0, None, None], read_spec(spec(["true"])))


# -- logs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("printed", [0, 1, 50, 99, 100, 101, 150, 1000])
@pytest.mark.parametrize("piece", [1, 7, 64, 1000])
def test_a_stream_keeps_head_and_tail_and_says_what_it_left_out(printed: int, piece: int) -> None:
    text = bytes(65 + n % 26 for n in range(printed))
    stream = Stream(100)
    for start in range(0, printed, piece):
        stream.feed(text[start : start + piece])
    stream.close()
    stream.close()
    if printed <= 100:
        assert bytes(stream.head) == text
    else:
        mark = b"\n[gridfare: %d bytes left out]\n" % (printed - 100)
        assert bytes(stream.head) == text[:50] + mark + text[-50:]


class LoggingChannel:
    """Answers log calls as told."""

    def __init__(self, acked: list[list[list[object]]]) -> None:
        self.acked, self.bodies = acked, []

    async def post(self, path: str, body: bytes, timeout_s: float) -> dict[str, object]:
        self.bodies.append(json.loads(body))
        return {"acked": self.acked.pop(0)}


def test_a_platform_that_lost_part_of_a_log_gets_it_again() -> None:
    channel = LoggingChannel([[[1, "stdout", 2]], [[1, "stdout", 5]]])
    printed = AttemptLog(1, 1, 100)
    printed.feed("stdout", b"hello")

    async def ship() -> None:
        shipper = LogShipper(channel)
        sending = asyncio.create_task(shipper.run())
        await asyncio.wait_for(shipper.finish(printed), 5)
        sending.cancel()

    asyncio.run(ship())
    sent = [(chunk["offset"], base64.b64decode(chunk["data"])) for body in channel.bodies for chunk in body["chunks"]]
    assert sent == [(0, b"hello"), (2, b"llo")]


def test_a_log_that_the_platform_does_not_want_does_not_hold_up_the_report() -> None:
    printed = AttemptLog(1, 1, 100)
    printed.feed("stdout", b"hello")

    async def ship() -> None:
        shipper = LogShipper(LoggingChannel([[]]))
        sending = asyncio.create_task(shipper.run())
        await asyncio.wait_for(shipper.finish(printed), 5)
        sending.cancel()

    asyncio.run(ship())


def test_a_detail_is_one_printable_line() -> None:
    assert one_line("a\n\tb\x1b[31m\udcff") == "a b [31m?"
    assert len(one_line("x" * 1000)) == 500


# -- the machine ----------------------------------------------------------------------------------------------------


def test_a_process_with_a_strange_name_is_read_right() -> None:
    line = b"42 (a) b (c) S 7 42 40 0 -1 0 1 2 3 4 150 50 0 0 20 0 1 0 100 4096 25 18446744073709551615"
    proc = procfs.parse_stat(line)
    assert (proc.pid, proc.ppid, proc.group, proc.session, proc.state) == (42, 7, 42, 40, "S")
    assert proc.core_ms == 200 * procfs.TICK_MS
    assert proc.rss_kib == 25 * procfs.PAGE_KIB


def test_a_family_is_found_through_the_tree() -> None:
    procs = {pid: procfs.Proc(pid, ppid, 0, 0, "S", 0, 0) for pid, ppid in [(2, 1), (3, 2), (4, 3), (5, 1), (6, 99)]}
    assert procfs.family_of(procs, [2, 77]) == {2, 3, 4}


def test_the_filter_is_whole_on_every_architecture_and_jumps_stay_inside() -> None:
    for machine in seccomp.ARCHITECTURES:
        program = seccomp.filter_for(machine)
        assert program is not None
        rows = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
        for position, (_, if_true, if_false, _) in enumerate(rows):
            assert position + 1 + max(if_true, if_false) < len(rows) or rows[position][0] == seccomp.RETURN
        assert rows[-1] == (seccomp.RETURN, 0, 0, seccomp.ALLOW)
    assert seccomp.filter_for("vax") is None


def test_accelerators_of_one_model_are_counted_together() -> None:
    found = facts.grouped("NVIDIA A100, 40960\nNVIDIA A100, 40960\nTesla T4, 15360\nnonsense\n")
    assert found == (Accelerator("NVIDIA A100", 2, 40960), Accelerator("Tesla T4", 1, 15360))


def test_both_ways_to_measure_floating_point_give_a_figure(tmp_path: Path) -> None:
    measured = benchmark.measure(tmp_path, 1, 0.02)
    assert min(measured.fp32_mflops, measured.memory_mbps, measured.disk_mbps) >= 1
    assert measured.method == "numpy"
    assert measured.fp32_mflops * 1e6 > 10 * benchmark.fp32_by_interpreter(0.01) > 1e7


def test_without_a_numpy_that_works_the_figure_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "fp32_by_numpy", lambda *_: float("no figure"))
    rate, method = benchmark.fp32_rate(1, 0.01)
    assert (rate > 1e6, method) == (True, "interpreter")
    judged = checks.check_fp32(benchmark.Benchmark(45, 1, 1, method))
    assert judged.status == "warn"
    assert "numpy" in judged.hint


def test_chaos_refuses_names_that_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDFARE_CHAOS", "explode=1")
    with pytest.raises(ValueError, match="explode"):
        Chaos.from_environment()
    assert Chaos().inflate({"wall_ms": 5}) == {"wall_ms": 5}


# -- commands -------------------------------------------------------------------------------------------------------


def test_joining_enrols_tests_the_machine_and_keeps_what_it_learned(platform: Platform, tmp_path: Path) -> None:
    done = join(platform.url, "good", tmp_path / "home", name="bob-1", cores=2, benchmark_s=0.05)
    assert (done.pool, done.pool_state) == ("CN-44-G-0001-7", "active")
    (sent,) = platform.selftests
    codes = {result["code"]: result["status"] for result in sent["results"]}
    assert codes["python"] == "pass"
    assert "fail" not in codes.values()
    assert sent["benchmark"]["fp32_mflops"] >= 1
    config = Home(tmp_path / "home").load_config()
    assert (config.agent_id, config.name, config.cores) == (done.agent_id, "bob-1", 2)
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700


def test_a_used_token_is_refused_and_leaves_no_configuration(platform: Platform, tmp_path: Path) -> None:
    join(platform.url, "good", tmp_path / "one", benchmark_s=0.05)
    with pytest.raises(ProtocolError, match="token_used"):
        join(platform.url, "good", tmp_path / "two", benchmark_s=0.05)
    with pytest.raises(HomeError, match="not joined"):
        Home(tmp_path / "two").load_config()


def test_joining_again_keeps_the_agent_and_its_chain(platform: Platform, tmp_path: Path) -> None:
    first = join(platform.url, "good", tmp_path / "home", benchmark_s=0.05)
    outbox(tmp_path / "home").put([item(1)])
    platform.tokens["second"] = "unused"
    again = join(platform.url, "second", tmp_path / "home", benchmark_s=0.05)
    assert again.agent_id == first.agent_id
    assert outbox(tmp_path / "home").batch is not None


def test_the_self_test_needs_no_home_and_no_platform() -> None:
    done = selftest(None, benchmark_s=0.02)
    assert done.passed
    assert {"python", "sandbox", "disk", "memory"} <= {result.code for result in done.results}


def test_a_platform_that_cannot_be_reached_fails_its_check() -> None:
    assert checks.check_platform("http://127.0.0.1:9/").status == "fail"


def test_commands_say_what_is_wrong_instead_of_failing_loudly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--home", str(tmp_path)]) == 1
    assert main(["drain", "--home", str(tmp_path)]) == 1
    assert main(["join", "http://127.0.0.1:9", "token", "--home", str(tmp_path)]) == 1
    assert "has not joined" in capsys.readouterr().err
    with pytest.raises(HomeError):
        drain(tmp_path)


def test_what_was_fetched_ahead_is_given_back_when_units_turn_out_to_be_long() -> None:
    class Forever:
        async def carry_out(self, attempt: object) -> None:
            await asyncio.sleep(60)

    async def hold() -> Holdings:
        holdings = Holdings(Forever(), Capacity(2, 1000, 1000))
        holdings.appetite.learn(0.01)
        document = spec(["true"])
        rows = [[number, 1, document["id"], number, None, None] for number in range(100)]
        holdings.take({document["id"]: document}, rows)
        await asyncio.sleep(0)
        holdings.shed()
        assert len(holdings.queue) == 98
        for attempt in holdings.held.values():
            attempt.began -= 30
        holdings.shed()
        return holdings

    holdings = asyncio.run(hold())
    assert len(holdings.queue) == 2
    assert {tuple(item.items())[2] for item in holdings.ended.values()} == {("outcome", "released")}
    assert 99 in {item["attempt"] for item in holdings.ended.values()}

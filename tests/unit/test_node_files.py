"""Files put over a node's root: where they land, what they keep, and that no link leads out of the layer."""

import os
from pathlib import Path

import pytest
from labrun.agent.node_files import Upper, fill, move_out
from labrun.protocol.actions import Put

ME = os.geteuid()


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """lower: the root below; beside: the lab's files; stage: where the layers are."""
    for name in (
        "lower/etc/app",
        "lower/usr/bin",
        "lower/var",
        "lower/root",
        "beside",
        "stage/upper",
        "stage/run",
        "stage/tmp",
    ):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lower/bin").symlink_to("usr/bin")
    (tmp_path / "lower/var/run").symlink_to("/run")
    (tmp_path / "lower/loop").symlink_to("loop")
    (tmp_path / "lower/up").symlink_to("../../../../etc")
    (tmp_path / "lower/etc/app").chmod(0o750)
    (tmp_path / "lower/etc/app/conf").write_text("old")
    (tmp_path / "lower/etc/app/conf").chmod(0o640)
    (tmp_path / "lower/etc/link").symlink_to("app/conf")
    (tmp_path / "lower/etc/passwd").write_text(f"root:x:0:0::/:\nme:x:{ME}:{os.getegid()}::/:\n")
    (tmp_path / "lower/etc/group").write_text(f"us:x:{os.getegid()}:\n")
    return tmp_path


def put(room: Path, *puts: Put) -> None:
    stage = room / "stage"
    fill(puts, Upper(stage / "upper", stage, room / "beside", room / "lower"))


def found(room: Path) -> dict[str, str]:
    """Path -> what it is: `mode text`, or where a link points."""
    stage = room / "stage"
    return {
        str(path.relative_to(stage)): f"-> {path.readlink()}"
        if path.is_symlink()
        else f"{path.stat().st_mode & 0o7777:o} {path.read_text()}"
        for path in sorted(stage.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def test_a_new_file_a_program_and_one_that_is_written_over(room: Path) -> None:
    (room / "beside" / "tool").write_text("x")
    (room / "beside" / "tool").chmod(0o755)
    put(
        room,
        Put("/etc/app/conf", text="new"),
        Put("/opt/a/b", text="b"),
        Put("/root/tool", "tool"),
        Put("/etc/m", text="m", mode=0o4600),
    )
    assert found(room) == {
        "upper/etc/app/conf": "640 new", "upper/opt/a/b": "644 b", "upper/root/tool": "755 x", "upper/etc/m": "4600 m",
    }  # fmt: skip
    assert (room / "stage/upper/etc/app").stat().st_mode & 0o777 == 0o750  # as it is below, else it would be hidden


@pytest.mark.parametrize(
    ("path", "at"),
    [
        ("/bin/tool", "upper/usr/bin/tool"),
        ("/var/run/x", "run/x"),
        ("/run/a/b", "run/a/b"),
        ("/tmp/x", "tmp/x"),
        ("/up/x", "upper/etc/x"),  # above the root is the root
        ("/etc/link", "upper/etc/link"),  # a link in the file's own place is replaced
    ],
)
def test_links_of_the_layer_below_are_followed_inside_of_the_root(room: Path, path: str, at: str) -> None:
    put(room, Put(path, text="x"))
    assert set(found(room)) == {at}
    assert (room / "lower/etc/app/conf").read_text() == "old"


def test_links_that_were_put_are_followed_inside_of_the_root(room: Path) -> None:
    (room / "beside" / "r1").mkdir()
    (room / "beside" / "r1" / "out").symlink_to("/")
    (room / "beside" / "r1" / "climb").symlink_to("../../../../..")
    put(room, Put("/", "r1"), Put("/out/a", text="a"), Put("/climb/b", text="b"))
    assert found(room) == {
        "upper/a": "644 a", "upper/b": "644 b", "upper/climb": "-> ../../../../..", "upper/out": "-> /",
    }  # fmt: skip


def test_a_folder_goes_over_the_root_and_the_later_goes_over_the_earlier(room: Path) -> None:
    (room / "beside" / "r1" / "etc" / "empty").mkdir(parents=True)
    (room / "beside" / "r1" / "etc" / "a").write_text("folder")
    (room / "beside" / "r1" / "etc" / "l").symlink_to("a")
    put(room, Put("/", "r1"), Put("/etc/a", text="file"), Put("/srv", "r1/etc"))
    assert found(room) == {
        "upper/etc/a": "644 file", "upper/etc/l": "-> a", "upper/srv/a": "644 folder", "upper/srv/l": "-> a",
    }  # fmt: skip
    assert (room / "stage/upper/etc/empty").is_dir() and (room / "stage/upper/srv/empty").is_dir()


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (Put("/etc/app", text="x"), "/etc/app: Is a directory"),
        (Put("/loop/x", text="x"), "/loop/x: Too many levels"),
        (Put("/x", "none"), "/x: No such file"),
        (Put("/x", text="x", owner="nobody-here"), "/x: there is no 'nobody-here' in /etc/passwd"),
        (Put("/x", text="x", owner=":none"), "/x: there is no 'none' in /etc/group"),
    ],
)
def test_what_cannot_be_is_told(room: Path, item: Put, words: str) -> None:
    with pytest.raises(OSError, match=words):
        put(room, item)


def test_owners_by_the_names_of_the_node(room: Path) -> None:
    put(
        room,
        Put("/a", text="", owner="me:us"),
        Put("/etc/passwd", text="new:x:7:8::/:\n"),
        Put("/b", text="", owner="new"),
    )
    assert ((room / "stage/upper/a").stat().st_uid, (room / "stage/upper/a").stat().st_gid) == (ME, os.getegid())
    if ME == 0:
        assert ((room / "stage/upper/b").stat().st_uid, (room / "stage/upper/b").stat().st_gid) == (7, 8)


def test_what_is_below_a_mount_moves_into_a_layer_of_its_own(room: Path) -> None:
    put(room, Put("/etc/a", text="a"), Put("/b", text="b"))
    assert move_out(room / "stage/upper", "/usr", room / "stage") is None
    over = move_out(room / "stage/upper", "/etc", room / "stage")
    assert over is not None and (over / "a").read_text() == "a"
    assert set(found(room)) == {"over-etc/a", "upper/b"}

"""Walking finds every file once, in order, within bounds, and says what it could not look at."""

import os
import socket

import pytest

from instructsearch.errors import InputError, ReadError
from instructsearch.readers import File, matches, supported, walk


def tree(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def found(*paths, globs=()):
    """Return what a walk finds, files relative to the first path, and the errors as (where, reason)."""
    files, errors = [], []
    for entry in walk(paths, globs=globs):
        if isinstance(entry, ReadError):
            errors.append((entry.where, entry.reason))
        else:
            files.append(os.path.relpath(entry.path, paths[0]))
    return files, errors


def test_files_come_sorted_with_their_facts(tmp_path):
    tree(tmp_path, "b.md", "a/z.txt", "a/b/c.py", "c.txt")
    files, errors = found(tmp_path)
    assert (files, errors) == (["a/b/c.py", "a/z.txt", "b.md", "c.txt"], [])
    first = next(walk([tmp_path]))
    about = (tmp_path / "a/b/c.py").stat()
    assert first == File(str(tmp_path / "a/b/c.py"), str(tmp_path), about.st_size, about.st_mtime_ns)


def test_relative_paths_become_absolute(tmp_path, monkeypatch):
    tree(tmp_path, "docs/a.txt")
    monkeypatch.chdir(tmp_path)
    assert [(file.path, file.root) for file in walk(["docs"])] == [(f"{tmp_path}/docs/a.txt", f"{tmp_path}/docs")]


def test_unknown_names_are_passed_over_in_folders_and_taken_when_named(tmp_path):
    tree(tmp_path, "a.xyz", "LICENSE", "README", "Makefile", "photo.png", "b.TXT")
    assert found(tmp_path) == (["Makefile", "README", "b.TXT"], [])
    assert found(tmp_path / "a.xyz")[0] == ["."]


def test_a_suffix_in_a_glob_is_known_thereby(tmp_path):
    tree(tmp_path, "a.xyz", "b.abc", "c.md")
    assert found(tmp_path, globs=["*.xyz", "*.md"])[0] == ["a.xyz", "c.md"]


@pytest.mark.parametrize(
    ("globs", "names"),
    [
        (["*.md"], ["a.md", "docs/b.md", "docs/deep/c.md"]),
        (["docs/*.md"], ["docs/b.md"]),
        (["docs/"], ["docs/b.md", "docs/d.txt", "docs/deep/c.md"]),
        (["!docs/deep/"], ["a.md", "docs/b.md", "docs/d.txt"]),
        (["*.md", "!b.md"], ["a.md", "docs/deep/c.md"]),
        (["**/deep/*"], ["docs/deep/c.md"]),
        (["*.pdf"], []),
    ],
)
def test_globs_choose_among_files(tmp_path, globs, names):
    tree(tmp_path, "a.md", "docs/b.md", "docs/deep/c.md", "docs/d.txt")
    assert found(tmp_path, globs=globs) == (names, [])
    everything = found(tmp_path)[0]
    assert [name for name in everything if matches(f"{tmp_path}/{name}", str(tmp_path), globs)] == names


def test_a_glob_also_holds_for_a_file_that_is_named(tmp_path):
    tree(tmp_path, "a.md", "b.txt")
    assert [file.path for file in walk([tmp_path / "a.md", tmp_path / "b.txt"], globs=["*.md"])] == [f"{tmp_path}/a.md"]


def test_matching_knows_what_lies_outside(tmp_path):
    assert matches("/a/b/c.md", "/a/b")
    assert matches("/a/b", "/a/b")
    assert not matches("/a/bc/c.md", "/a/b")


@pytest.mark.parametrize("glob", ["!", "[z-a]"])
def test_a_glob_that_means_nothing_is_refused(tmp_path, glob):
    with pytest.raises(InputError, match="glob"):
        list(walk([tmp_path], globs=[glob]))


def test_hidden_entries_are_passed_over_but_taken_when_named(tmp_path):
    tree(tmp_path, ".hidden.md", ".notes/a.md", "b.md", ".git/config.md")
    assert found(tmp_path)[0] == ["b.md"]
    assert found(tmp_path / ".notes")[0] == ["a.md"]
    assert found(tmp_path / ".hidden.md")[0] == ["."]


def test_gitignore_files_hold_below_their_folder_and_deeper_ones_win(tmp_path):
    tree(tmp_path, "a.log", "keep.log", "build/x.md", "sub/a.log", "sub/b.txt", "sub/build/y.md", "sub/deep/b.txt")
    (tmp_path / ".gitignore").write_text("*.log\n!keep.log\n/build/\n[z-a]\n!\n")
    (tmp_path / "sub/.gitignore").write_text("!a.log\nb.txt\n")
    (tmp_path / "sub/deep/.gitignore").write_text("!b.txt")
    assert found(tmp_path)[0] == ["keep.log", "sub/a.log", "sub/build/y.md", "sub/deep/b.txt"]


def test_rules_of_the_repository_above_hold_unless_they_leave_out_the_folder_itself(tmp_path):
    tree(tmp_path, "docs/a.md", "docs/b.txt", "data/c.txt", ".git/HEAD")
    (tmp_path / ".gitignore").write_text("*.txt\n/data/\n")
    assert found(tmp_path / "docs")[0] == ["a.md"]
    assert found(tmp_path / "data")[0] == ["c.txt"]


def test_rules_above_no_repository_do_not_hold(tmp_path):
    tree(tmp_path, "docs/a.md")
    (tmp_path / ".gitignore").write_text("*.md")
    assert found(tmp_path / "docs")[0] == ["a.md"]


def test_overlapping_paths_give_each_file_once(tmp_path):
    tree(tmp_path, "a.md", "docs/b.md", "docs/.h/c.md")
    paths = [tmp_path / "docs", tmp_path, tmp_path / "a.md", tmp_path / "docs/.h"]
    files = [entry.path.removeprefix(f"{tmp_path}/") for entry in walk(paths)]
    assert sorted(files) == ["a.md", "docs/.h/c.md", "docs/b.md"]


def test_a_path_that_is_not_there_is_named_and_the_rest_found(tmp_path):
    tree(tmp_path, "a.md")
    files, errors = found(tmp_path, tmp_path / "gone")
    assert files == ["a.md"]
    assert errors == [(f"{tmp_path}/gone", "no such file or directory")]


def test_an_empty_folder_gives_nothing(tmp_path):
    assert found(tmp_path) == ([], [])


def test_a_folder_that_cannot_be_listed_is_named_and_the_rest_found(tmp_path, monkeypatch):
    tree(tmp_path, "a.md", "locked/b.md", "z.md")
    listed = os.scandir

    def scandir(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert found(tmp_path) == (
        ["a.md", "z.md"],
        [(f"{tmp_path}/locked", "permission denied; nothing below it was looked at")],
    )


def test_a_link_to_a_file_within_gives_the_file_under_its_own_name(tmp_path):
    tree(tmp_path, "z.md")
    (tmp_path / "a.md").symlink_to("z.md")
    assert found(tmp_path) == (["z.md"], [])


def test_a_link_to_what_is_passed_over_by_name_is_followed(tmp_path):
    tree(tmp_path, ".store/guide.md", ".store/deep/more.md")
    (tmp_path / "docs").symlink_to(".store")
    assert found(tmp_path) == (["docs/deep/more.md", "docs/guide.md"], [])


def test_a_link_out_of_the_folder_is_named_and_not_followed(tmp_path):
    tree(tmp_path, "out/secret.md", "in/a.md")
    (tmp_path / "in/b.md").symlink_to("../out/secret.md")
    (tmp_path / "in/c").symlink_to("../out")
    (tmp_path / "in/lib.so").symlink_to("../out/secret.md")
    files, errors = found(tmp_path / "in")
    assert files == ["a.md"]
    assert [where for where, _ in errors] == [f"{tmp_path}/in/b.md", f"{tmp_path}/in/c"]
    assert all("points outside" in reason for _, reason in errors)


def test_a_link_to_another_path_of_the_same_walk_is_no_error(tmp_path):
    tree(tmp_path, "out/b.md", "in/a.md")
    (tmp_path / "in/c").symlink_to("../out")
    assert found(tmp_path / "in", tmp_path / "out") == (["a.md", "../out/b.md"], [])


def test_a_path_that_is_itself_a_link_is_followed(tmp_path):
    tree(tmp_path, "real/a.md")
    (tmp_path / "link").symlink_to("real")
    assert [(file.path, file.root) for file in walk([tmp_path / "link"])] == [
        (f"{tmp_path}/link/a.md", f"{tmp_path}/link")
    ]


def test_link_loops_end_and_are_named(tmp_path):
    tree(tmp_path, "a/b/c.md")
    (tmp_path / "a/b/up").symlink_to("..")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "gone.md").symlink_to("nowhere")
    files, errors = found(tmp_path)
    assert files == ["a/b/c.md"]
    assert [(os.path.relpath(where, tmp_path), reason.split(":")[0]) for where, reason in errors] == [
        ("a/b/up", f"symbolic link that leads back to {tmp_path}/a"),
        ("gone.md", "symbolic link that leads nowhere"),
        ("self", "symbolic link that leads nowhere"),
    ]


def test_two_folders_that_link_to_each_other_end(tmp_path):
    tree(tmp_path, ".x/a.md", ".y/b.md")
    (tmp_path / ".x/y").symlink_to("../.y")
    (tmp_path / ".y/x").symlink_to("../.x")
    (tmp_path / "start").symlink_to(".x")
    files, _ = found(tmp_path)
    assert files == ["start/a.md", "start/y/b.md"]


def test_pipes_and_sockets_are_never_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("a.txt")
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("b.md")
        files, errors = found(tmp_path)
    assert files == []
    assert errors == [(f"{tmp_path}/a.txt", "not a regular file"), (f"{tmp_path}/b.md", "not a regular file")]


def test_a_name_that_is_no_text_is_refused_in_words_that_are(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    [(where, reason)] = found(tmp_path)[1]
    assert where.endswith("caf\\xe9.txt")
    assert "rename it" in reason


@pytest.fixture
def abyss(tmp_path):
    """A file a thousand folders deep, taken away again since what cleans up after tests recurses."""
    folders = [tmp_path]
    for _ in range(1010):
        folders.append(folders[-1] / "d")
        folders[-1].mkdir()
    (folders[-1] / "a.md").write_text("x")
    yield tmp_path
    (folders[-1] / "a.md").unlink()
    for folder in reversed(folders[1:]):
        folder.rmdir()


def test_a_thousand_folders_deep_is_no_deeper_than_one(abyss):
    assert len(found(abyss)[0]) == 1


@pytest.mark.parametrize(
    ("name", "known"),
    [
        *[(name, True) for name in ("a.md", "A.PDF", "x.csv.gz", "y.tar.jsonl.gz", "Dockerfile", "readme")],
        *[(name, False) for name in ("x.md.gz", "a.png", "gz", ".gz", "csv.gz", "a.", "", "LICENSE", ".md")],
    ],
)
def test_support_is_a_matter_of_names(name, known):
    assert supported(name) is known

"""A release is what git holds, and one hash says whether it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from role import ROLE, load

pin = load("controller/pin.py")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "agent/export_limiter").mkdir(parents=True)
    (tmp_path / "agent/run").write_text("#!/bin/sh\n")
    (tmp_path / "agent/VERSION").write_text("0.1.0\n")
    (tmp_path / "agent/export_limiter/__init__.py").write_text("")
    (tmp_path / "README").write_text("not of the agent\n")
    git(tmp_path, "init", "--quiet")
    return tmp_path


def git(repository: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    command = ["git", *identity, "-C", repository, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(repository: Path) -> str:
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "x")
    return git(repository, "rev-parse", "HEAD")


def test_release_holds_the_files_of_the_agent_without_its_prefix(repository: Path) -> None:
    release = pin.build(str(repository), commit(repository))

    assert release.files == {
        "VERSION": "0.1.0\n",
        "export_limiter/__init__.py": "",
        "run": "#!/bin/sh\n",
    }


def test_sha256_is_that_of_what_sha256sum_prints_in_c_order(repository: Path) -> None:
    release = pin.build(str(repository), commit(repository))

    shell = "find . -type f | sed 's,^./,,' | LC_ALL=C sort | xargs sha256sum"
    listing = subprocess.check_output(["sh", "-c", shell], cwd=repository / "agent", text=True)
    assert pin.manifest(release.files) == listing
    assert release.sha256 == subprocess.check_output(
        ["sha256sum"], input=listing, text=True
    ).removesuffix("  -\n")


def test_edits_and_attributes_do_not_change_a_release(repository: Path) -> None:
    (repository / ".gitattributes").write_text("run export-ignore\nVERSION export-subst eol=crlf\n")
    head = commit(repository)
    before = pin.build(str(repository), head)

    (repository / "agent/run").write_text("edited\n")
    (repository / "agent/new").write_text("untracked\n")

    assert pin.build(str(repository), head) == before
    assert pin.edited(str(repository)) == ["agent/new", "agent/run"]


def test_edited_tree_is_numbered_by_its_content_as_a_commit_of_it_would_be(
    repository: Path,
) -> None:
    commit(repository)
    (repository / "agent/run").write_text("edited\n")
    (repository / "agent/new").write_text("untracked\n")
    (repository / "agent/VERSION").unlink()
    (repository / ".gitignore").write_text("*.pyc\n")
    (repository / "agent/run.pyc").write_bytes(b"\xa7")

    edited = pin.worktree(str(repository))

    assert edited.commit == edited.sha256[:40]
    assert edited.files == pin.build(str(repository), commit(repository)).files


def flip(agent: Path) -> None:
    (agent / "run").write_text("#!/bin/su\n")


def truncate(agent: Path) -> None:
    (agent / "VERSION").write_text("")


def add(agent: Path) -> None:
    (agent / "json.py").write_text("")


def drop(agent: Path) -> None:
    (agent / "export_limiter/__init__.py").unlink()


@pytest.mark.parametrize("spoil", [flip, truncate, add, drop])
def test_any_other_byte_is_another_hash_and_refused(repository: Path, spoil: object) -> None:
    pinned = pin.build(str(repository), commit(repository)).sha256

    assert callable(spoil)
    spoil(repository / "agent")
    release = pin.build(str(repository), commit(repository))

    with pytest.raises(
        pin.PinError, match=f"^export_limiter_sha256: .* the inventory pins {pinned}"
    ):
        pin.verify(release, pinned)


def test_packed_release_is_unpacked_as_it_was(repository: Path) -> None:
    release = pin.build(str(repository), commit(repository))

    assert pin.unpack(pin.pack(release)) == release.files


def link(agent: Path) -> None:
    (agent / "json.py").symlink_to("/etc/passwd")


def submodule(agent: Path) -> None:
    git(agent, "init", "--quiet", "inner")
    (agent / "inner/x").write_text("x")
    commit(agent / "inner")


def odd_name(agent: Path) -> None:
    (agent / "a b.py").write_text("x")


def reserved(agent: Path) -> None:
    (agent / "MANIFEST").write_text("x")


def binary(agent: Path) -> None:
    (agent / "x.pyc").write_bytes(b"\xa7\r\r\n")


def large(agent: Path) -> None:
    (agent / "x.py").write_text("x" * (pin.MAX_RELEASE_BYTES + 1))


def many(agent: Path) -> None:
    for number in range(pin.MAX_FILES):
        (agent / f"x{number}.py").write_text("")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (link, "not a regular file"),
        (submodule, "not a regular file"),
        (odd_name, "never deployed"),
        (reserved, "deployment itself needs"),
        (binary, "not text"),
        (large, "larger than"),
        (many, "at most 200"),
    ],
)
def test_what_is_not_a_plain_small_text_file_is_refused(
    repository: Path, spoil: object, reason: str
) -> None:
    assert callable(spoil)
    spoil(repository / "agent")
    head = commit(repository)

    told = f"^export_limiter_commit: agent/.*{reason}"
    with pytest.raises(pin.PinError, match=told):
        pin.build(str(repository), head)
    with pytest.raises(pin.PinError, match=told):
        pin.worktree(str(repository))


def test_git_that_is_not_there_or_takes_too_long_is_refused_with_a_variable(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = commit(repository)
    monkeypatch.setattr(pin, "GIT_TIMEOUT_S", 0)
    with pytest.raises(pin.PinError, match="^export_limiter_commit: git .* took longer than 0 s$"):
        pin.build(str(repository), head)

    monkeypatch.setenv("PATH", "")
    with pytest.raises(pin.PinError, match="^export_limiter_commit: git is not installed"):
        pin.build(str(repository), head)


@pytest.mark.parametrize("path", ["../run", "a/../../run", "/etc/passwd", "a//b", "./run"])
def test_path_that_leaves_the_release_is_refused(path: str) -> None:
    with pytest.raises(pin.PinError, match="never deployed"):
        pin.of_files("0" * 40, {path: b""})


def test_tree_copied_into_another_repository_is_no_repository(repository: Path) -> None:
    head = commit(repository)

    with pytest.raises(pin.PinError, match="^export_limiter_repository: .* no git repository"):
        pin.build(str(repository / "agent"), head)


def test_commit_that_is_not_there_is_refused_with_its_variable(repository: Path) -> None:
    commit(repository)
    absent = "0" * 40

    with pytest.raises(pin.PinError, match=f"^export_limiter_commit: {absent} is not in /"):
        pin.build(str(repository), absent)


def test_repository_that_can_not_be_fetched_is_refused_with_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    told = "^export_limiter_repository: git fetch: fatal: '/nowhere' does not appear to be a git"
    with pytest.raises(pin.PinError, match=told):
        pin.build("file:///nowhere", "0" * 40)


def test_commit_without_an_agent_is_refused(repository: Path) -> None:
    git(repository, "rm", "--quiet", "-r", "--cached", "--ignore-unmatch", "agent")
    git(repository, "add", "README")
    git(repository, "commit", "--quiet", "--message", "x")
    head = git(repository, "rev-parse", "HEAD")

    with pytest.raises(pin.PinError, match=f"^export_limiter_commit: {head} has no agent/"):
        pin.build(str(repository), head)


def test_bare_repository_is_as_good_as_any(repository: Path, tmp_path: Path) -> None:
    head = commit(repository)
    git(repository, "clone", "--quiet", "--bare", str(repository), str(tmp_path / "bare"))

    assert pin.build(str(tmp_path / "bare"), head) == pin.build(str(repository), head)


def test_repository_by_url_is_fetched_once(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    head = commit(repository)
    here = pin.build(str(repository), head)

    fetched = pin.build(f"file://{repository}", head)
    os.rename(repository / ".git", repository / "gone")

    assert fetched == here
    assert pin.build(f"file://{repository}", head) == here


def test_unsigned_commit_is_refused_where_signers_are_given(
    repository: Path, tmp_path: Path
) -> None:
    head = commit(repository)
    (tmp_path / "signers").write_text("")

    with pytest.raises(pin.PinError, match="^export_limiter_allowed_signers: .* no good signature"):
        pin.build(str(repository), head, str(tmp_path / "signers"))


def test_signed_commit_is_taken_from_a_signer_only(repository: Path, tmp_path: Path) -> None:
    for name in ("known", "stranger"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name]
        subprocess.run(command, check=True)
    signers = tmp_path / "signers"
    signers.write_text(f"t@example.com {(tmp_path / 'known.pub').read_text()}")

    heads = {}
    for name in ("known", "stranger"):
        (repository / "agent/VERSION").write_text(name)
        git(repository, "add", "--all")
        key = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={tmp_path / name}"]
        git(repository, *key, "commit", "--quiet", "-S", "--message", "x")
        heads[name] = git(repository, "rev-parse", "HEAD")

    assert pin.build(str(repository), heads["known"], str(signers)).files["VERSION"] == "known"
    with pytest.raises(pin.PinError, match="^export_limiter_allowed_signers: .* no good signature"):
        pin.build(str(repository), heads["stranger"], str(signers))


# Signs and finds every signature good, as a keyring with a stranger's key in it would.
KEYRING = """#!/bin/sh
cat >/dev/null
case "$*" in
*--verify*) echo '[GNUPG:] NEWSIG'; echo '[GNUPG:] GOODSIG 0 stranger'
    echo '[GNUPG:] VALIDSIG 0 0 0 0 0 0 0 0 0 0'; echo '[GNUPG:] TRUST_ULTIMATE 0 pgp' ;;
*) echo '-----BEGIN PGP SIGNATURE-----'; echo; echo x; echo '-----END PGP SIGNATURE-----'
    echo >&2; echo '[GNUPG:] SIG_CREATED D' >&2 ;;
esac
"""


@pytest.mark.parametrize("setting", ["gpg.program", "gpg.openpgp.program"])
def test_signature_by_a_key_of_a_keyring_is_none_of_the_signers(
    repository: Path, tmp_path: Path, setting: str
) -> None:
    keyring, signers = tmp_path / "keyring", tmp_path / "signers"
    keyring.write_text(KEYRING)
    keyring.chmod(0o755)
    signers.write_text("")
    git(repository, "config", setting, str(keyring))
    git(repository, "add", "agent")
    git(repository, "commit", "--quiet", "-S", "--message", "x")
    head = git(repository, "rev-parse", "HEAD")
    git(repository, "verify-commit", head)  # git itself is content with it

    with pytest.raises(pin.PinError, match="^export_limiter_allowed_signers: .* no good signature"):
        pin.build(str(repository), head, str(signers))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROLE / "controller/pin.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_program_prints_the_two_lines_of_the_inventory(repository: Path) -> None:
    head = commit(repository)

    done = run("--repository", str(repository))

    sha256 = pin.build(str(repository), head).sha256
    assert done.stdout == f'export_limiter_commit: "{head}"\nexport_limiter_sha256: "{sha256}"\n'
    assert done.stderr == ""


def test_program_says_that_edits_are_not_pinned(repository: Path) -> None:
    commit(repository)
    (repository / "agent/run").write_text("edited\n")

    done = run("--repository", str(repository))

    assert done.returncode == 0
    assert "this is HEAD" in done.stderr
    assert "agent/run" in done.stderr


def test_tree_without_git_is_one_clear_line(tmp_path: Path) -> None:
    done = run("--repository", str(tmp_path))

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no git repository" in done.stderr

"""Build a release of the agent from a git commit, and pin it by one hash.

A release is what git holds under ``agent/`` at a commit: ``{path: text}``. Its MANIFEST lists the
sha256 and the path of every file, and the sha256 of the MANIFEST is the pin: the same number on the
controller, on the device before anything is switched, and in every later check. Blobs are taken by
object id: no working tree, no attributes and no archive format can change a byte of them.

Run as a program it prints the two lines that pin a commit in an inventory.
"""

from __future__ import annotations

import argparse
import base64
import bz2
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Mapping, NamedTuple

AGENT = "agent/"
WHERE = "export_limiter_commit: "  # a fault begins with the variable to mend
COMMIT = re.compile(r"[0-9a-f]{40}")
SAFE_PATH = re.compile(r"[A-Za-z0-9._/-]+")
# Written beside the files on the device: a release that brought its own would shadow them.
RESERVED = ("MANIFEST", "config.json")
NEVER = "a link or a submodule is never deployed"
MAX_FILES = 200
MAX_RELEASE_BYTES = 1024 * 1024
GIT_TIMEOUT_S = 120


class PinError(Exception):
    """What was asked for can't be built or is not what was pinned; one line says why."""


class Release(NamedTuple):
    """The agent at one commit; ``sha256`` is that of its MANIFEST."""

    commit: str
    files: dict[str, str]
    sha256: str


def build(repository: str, commit: str, signers: str | None = None) -> Release:
    """Take the release from a repository (a directory or a URL); raise :class:`PinError`.

    With ``signers`` (an allowed-signers file of ssh-keygen) the commit must carry a good signature.
    """
    if not COMMIT.fullmatch(commit):
        raise PinError(f"{WHERE}{commit!r} is not 40 lower-case hexadecimal digits")
    directory = _local(repository, commit)
    absent = f"{WHERE}{commit} is not in {repository}"
    _git(directory, "cat-file", "-e", commit + "^{commit}", refusal=absent)
    if signers:
        _verify_signature(directory, commit, signers)
    return of_files(commit, _files(directory, commit))


def worktree(repository: str) -> Release:
    """The agent as it is being edited; its hash stands for the commit that it does not have."""
    directory = _local(repository, "")
    listing = _git(directory, "ls-files", "-z", "-c", "-o", "--exclude-standard", "--", AGENT)
    found = {}
    for entry in listing.decode("utf-8", "replace").split("\0")[:-1]:
        source = Path(directory, entry)
        if source.is_symlink() or source.is_dir():
            raise PinError(f"{WHERE}{entry} is not a regular file: {NEVER}")
        if source.exists():
            found[entry.removeprefix(AGENT)] = source.read_bytes()
    release = of_files("", found)
    return release._replace(commit=release.sha256[:40])


def of_files(commit: str, found: Mapping[str, bytes]) -> Release:
    """Number a release whose files are at hand; what can't be deployed is refused."""
    if len(found) > MAX_FILES:
        raise PinError(f"{WHERE}{AGENT} has {len(found)} files, at most {MAX_FILES} are allowed")
    if sum(map(len, found.values())) > MAX_RELEASE_BYTES:
        raise PinError(f"{WHERE}{AGENT} is larger than {MAX_RELEASE_BYTES} bytes")
    files = {}
    for path, content in found.items():
        if not SAFE_PATH.fullmatch(path) or not {"", ".", ".."}.isdisjoint(path.split("/")):
            raise PinError(f"{WHERE}{AGENT}{path!r} is a path that is never deployed")
        if path in RESERVED:
            raise PinError(f"{WHERE}{AGENT}{path} has a name that deployment itself needs")
        try:
            files[path] = content.decode()
        except UnicodeDecodeError:
            raise PinError(f"{WHERE}{AGENT}{path} is not text in UTF-8") from None
    return Release(commit, files, hashlib.sha256(manifest(files).encode()).hexdigest())


def verify(release: Release, sha256: str) -> None:
    """Refuse a release that is not the pinned one."""
    if release.sha256 != sha256:
        told = f"export_limiter_sha256: commit {release.commit} has {release.sha256}"
        raise PinError(f"{told}, the inventory pins {sha256}")


def manifest(files: dict[str, str]) -> str:
    """``sha256sum -c`` form, in C order of the paths."""
    lines = (f"{hashlib.sha256(files[path].encode()).hexdigest()}  {path}\n" for path in files)
    return "".join(sorted(lines, key=lambda line: line[66:].encode()))


def pack(release: Release) -> str:
    """Its files as compressed JSON in base64: they travel through Ansible's variables."""
    text = json.dumps(release.files, sort_keys=True)
    return base64.b64encode(bz2.compress(text.encode())).decode()


def unpack(packed: str) -> dict[str, str]:
    """The files; a device that installs them numbers them again, and believes no name."""
    return json.loads(bz2.decompress(base64.b64decode(packed)))


def head(repository: str) -> str:
    """The commit that is checked out."""
    return _git(_local(repository, ""), "rev-parse", "--verify", "HEAD^{commit}").decode().strip()


def edited(repository: str) -> list[str]:
    """Files of the agent that differ from HEAD or are not in git."""
    listing = _git(repository, "status", "--porcelain", "-z", "--no-renames", "--", AGENT)
    return sorted(entry[3:] for entry in listing.decode().split("\0") if entry)


def _files(directory: str, commit: str) -> dict[str, bytes]:
    """The agent's files by their path in it; refuses what is not plainly a file."""
    without = f"{WHERE}{commit} has no {AGENT}"
    listing = _git(directory, "ls-tree", "-r", "-z", f"{commit}:{AGENT}", refusal=without)
    blobs = {}
    for entry in listing.decode("utf-8", "replace").split("\0")[:-1]:
        about, _, path = entry.partition("\t")
        if not about.startswith(("100644 blob ", "100755 blob ")):
            raise PinError(f"{WHERE}{AGENT}{path} is not a regular file: {NEVER}")
        blobs[path] = about.rpartition(" ")[2]

    asked = "".join(blob + "\n" for blob in blobs.values()).encode()
    output, files = _git(directory, "cat-file", "--batch=%(objectsize)", stdin=asked), {}
    for path, blob in blobs.items():
        size, _, output = output.partition(b"\n")
        if not size.isdigit():
            raise PinError(f"{WHERE}git has no blob {blob}")
        files[path], output = output[: int(size)], output[int(size) + 1 :]
    return files


def _local(repository: str, commit: str) -> str:
    """A directory git can read the commit from; a URL is fetched into a cache, once."""
    if "://" not in repository and not re.match(r"[^/]+@[^/]+:", repository):
        directory = os.path.realpath(os.path.expanduser(repository))
        copied = "is no git repository: a release is built from a commit, never from a copied tree"
        refusal = f"export_limiter_repository: {repository} {copied}"
        _git(directory, "rev-parse", "--git-dir", refusal=refusal)
        return directory
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    name = hashlib.sha256(repository.encode()).hexdigest()[:16]
    cache = f"{home}/venus-export-limiter/{name}.git"
    os.makedirs(cache, exist_ok=True)
    _git(cache, "init", "--quiet", "--bare")
    try:
        _git(cache, "cat-file", "-e", commit + "^{commit}")
    except PinError:
        fetched = ("--no-tags", repository, "+refs/heads/*:refs/heads/*")
        _git(cache, "fetch", "--quiet", *fetched, refusal="export_limiter_repository: git fetch")
    return cache


def _verify_signature(directory: str, commit: str, signers: str) -> None:
    if not os.path.isfile(signers):
        raise PinError(f"export_limiter_allowed_signers: {signers} does not exist")
    settings = ["-c", "gpg.ssh.allowedSignersFile=" + os.path.abspath(signers)]
    # A signature names its kind, and any key of a keyring would be good enough for the others.
    settings += ["-c", "gpg.openpgp.program=false", "-c", "gpg.x509.program=false"]
    unsigned = f"export_limiter_allowed_signers: {commit} has no good signature by one of {signers}"
    _git(directory, *settings, "verify-commit", commit, refusal=unsigned)


def _git(directory: str, *arguments: str, stdin: bytes = b"", refusal: str = "") -> bytes:
    """What git prints; where it fails, the refusal, with its own line that tells most."""
    # Someone else's clone is only read: git's own guard against its hooks does not apply.
    here = os.path.realpath(directory)
    command = ["git", "-c", f"safe.directory={here}", "-C", here, *arguments]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment.update(GIT_TERMINAL_PROMPT="0", LC_ALL="C", GIT_OPTIONAL_LOCKS="0")
    environment["GIT_CEILING_DIRECTORIES"] = os.path.dirname(here)  # else one above is taken
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, env=environment, timeout=GIT_TIMEOUT_S
        )
    except FileNotFoundError:
        raise PinError(f"{WHERE}git is not installed on this machine") from None
    except subprocess.TimeoutExpired:
        raise PinError(f"{WHERE}git {arguments[0]} took longer than {GIT_TIMEOUT_S} s") from None
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        reason = next((line for line in lines if line.startswith("fatal:")), lines[-1])
        raise PinError(f"{refusal or WHERE + 'git ' + arguments[0]}: {reason}")
    return done.stdout


def main() -> None:
    """Print the two lines of an inventory that pin the commit that is checked out."""
    parser = argparse.ArgumentParser(description="Pin HEAD's agent for an inventory.")
    parser.add_argument("--repository", default=str(Path(__file__).resolve().parents[3]))
    repository = parser.parse_args().repository
    try:
        release = build(repository, head(repository))
        changes = edited(repository)
    except PinError as refused:
        print(f"pin: {refused}", file=sys.stderr)
        sys.exit(2)
    print(f'export_limiter_commit: "{release.commit}"\nexport_limiter_sha256: "{release.sha256}"')
    if changes:
        print("pin: this is HEAD, without the edits not committed in", *changes, file=sys.stderr)


if __name__ == "__main__":
    main()

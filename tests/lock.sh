#!/bin/sh
# Writes requirements.txt: the extras in pyproject.toml, each package at the version chosen today.
set -eu
cd "$(dirname "$0")/.."

rm -rf build/lock
/usr/bin/python3 -m venv build/lock
/usr/bin/python3 - >build/lock/wanted <<'EOF'
import tomllib

with open("pyproject.toml", "rb") as project:
    extras = tomllib.load(project)["project"]["optional-dependencies"]
print(*extras["controller"], *extras["dev"], sep="\n")
# The newest ansible-core that manages every Venus OS image since v2.80.
print("ansible-core==2.18.*")
EOF
build/lock/bin/pip install --disable-pip-version-check -q -r build/lock/wanted
{
    echo '# Every package of the controller, the demo, the tests and the linters, at one version each.'
    echo "# Made by 'make lock' from the extras in pyproject.toml."
    build/lock/bin/pip freeze
} >build/lock/requirements.txt
mv build/lock/requirements.txt requirements.txt
rm -rf build/lock

#!/bin/sh
# Installs what the demo and the tests need: Debian packages by apt, tools into .venv by pip.
# What is there already is left alone, so a second run ends at once.
#
#   sh tests/setup.sh          what `make demo` needs
#   sh tests/setup.sh --test   also what `make test` needs: a browser
#   sh tests/setup.sh --lint   also what `make lint` needs
#   sh tests/setup.sh --all    also what `make test-all` needs: other Debians and processors, and
#                              another ansible-core
set -eu
cd "$(dirname "$0")/.."

packages="bash busybox curl daemontools dbus e2fsprogs git iproute2 openssh-client openssh-server
openssl procps python3-dbus python3-gi python3-venv rsync strace util-linux zip"
other_core=2.19.14 # beside the one in requirements.txt
browser="chromium chromium-driver fonts-dejavu-core"
case ${1:-} in
    --test) packages="$packages $browser" ;;
    --lint) packages="$packages shellcheck" ;;
    --all) packages="$packages $browser mmdebstrap qemu-user-static systemd-container" ;;
esac

stop() {
    echo "setup: $*" >&2
    exit 1
}

missing_packages() {
    for package in $packages; do
        case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
            *' installed') ;;
            *) printf '%s ' "$package" ;;
        esac
    done
}

# Debian starts and enables a server when it installs one. Nobody asked for an SSH server on this
# machine: the simulated devices start their own.
install_packages() {
    export DEBIAN_FRONTEND=noninteractive
    policy=
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        policy=/usr/sbin/policy-rc.d
        trap 'rm -f "$policy"' EXIT
        trap 'exit 130' INT TERM HUP
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 0755 "$policy"
    fi

    echo "setup: installing the Debian packages $*"
    {
        apt-get -q update && apt-get -q -y --no-install-recommends install "$@"
    } >build/apt.log 2>&1 || stop "apt could not install $*: $(apt_error)"

    case " $* " in
        *' openssh-server '*) [ ! -d /run/systemd/system ] || systemctl -q disable ssh ;;
    esac
    if [ -n "$policy" ]; then
        rm -f "$policy"
        trap - EXIT INT TERM HUP
    fi
}

apt_error() {
    grep -m 1 '^E: ' build/apt.log || echo "see build/apt.log"
}

# .venv counts only with a stamp that names the lock, the Python and the place it was made for:
# one that was interrupted, moved or made from another lock is made again.
venv_wanted() {
    { cat requirements.txt && /usr/bin/python3 -V && pwd; } | sha256sum | cut -d ' ' -f 1
}

make_venv() {
    echo "setup: installing the pinned tools into .venv (once, about a minute)"
    rm -rf .venv
    /usr/bin/python3 -m venv .venv >build/pip.log 2>&1 || stop "no .venv: see build/pip.log"
    total=$(grep -c '==' requirements.txt)
    {
        pip_install -r requirements.txt 2>&1 || echo 'setup: pip failed'
    } | tee -a build/pip.log | show_progress "$total"
    if grep -q '^setup: pip failed$' build/pip.log; then
        rm -rf .venv
        stop "pip could not install the tools: $(pip_error)"
    fi
    venv_wanted >.venv/complete
}

pip_install() {
    .venv/bin/pip install --disable-pip-version-check --no-input --no-deps --progress-bar off "$@"
}

# Its dependencies are those of the one in .venv.
make_other_core() {
    echo "setup: installing ansible-core $other_core beside the other"
    rm -rf .venv/other-core
    pip_install --target .venv/other-core.new "ansible-core==$other_core" >build/pip.log 2>&1 ||
        stop "pip could not install ansible-core $other_core: $(pip_error)"
    mv .venv/other-core.new .venv/other-core
}

pip_error() {
    if grep -q 'Retrying (' build/pip.log; then
        echo "the package index can't be reached (see build/pip.log)"
        return
    fi
    grep -m 1 '^ERROR: ' build/pip.log || echo "see build/pip.log"
}

show_progress() {
    if [ -t 1 ]; then
        awk -v total="$1" '
            /^Collecting |^Installing collected/ {
                done += 1
                part = done > total ? 40 : int(40 * done / total)
                bar = sprintf("%" part "s", ""); gsub(/ /, "#", bar)
                printf "\r[%-40s] %3d %%", bar, part * 2.5; fflush()
            }
            END { print "" }'
    else
        cat >/dev/null
    fi
}

[ -x /usr/bin/dpkg-query ] || stop "this needs Debian 12: there is no dpkg here"
mkdir -p build
exec 9>build/setup.lock
flock 9 # two makes at once: the second waits for the first

missing=$(missing_packages)
if [ -n "$missing" ]; then
    [ "$(id -u)" = 0 ] || stop "missing Debian packages; as root: apt-get install $missing"
    # shellcheck disable=SC2086 # a list of names
    install_packages $missing
fi
[ "$(cat .venv/complete 2>/dev/null)" = "$(venv_wanted)" ] || make_venv
if [ "${1:-}" = --all ] && [ ! -d ".venv/other-core/ansible_core-$other_core.dist-info" ]; then
    make_other_core
fi

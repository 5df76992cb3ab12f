#!/bin/sh
# Install the real servers and the browser the tests start privately; as root or in CI alone. Further packages: "$@".
set -eu
missing=""
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
for name in "$@"; do
    dpkg -s "$name" >/dev/null 2>&1 || missing="$missing $name"
done
perl -MSisimai -MMail::DeliveryStatus::BounceParser -MJSON -e 1 >/dev/null 2>&1 ||
    missing="$missing libsisimai-perl libmail-deliverystatus-bounceparser-perl libjson-perl"
{ command -v postfix || ls /usr/sbin/postfix; } >/dev/null 2>&1 || missing="$missing postfix"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ]; then
    echo "not installed:$missing (tests that need them are skipped)"
    exit 0
fi
# Outside a container without init, packages would start their services: ours are started privately.
if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null

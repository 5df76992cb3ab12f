#!/bin/sh
# Install the real servers and the browser the tests start privately; as root or in CI alone.
set -eu
missing=""
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
perl -MSisimai -MMail::DeliveryStatus::BounceParser -MJSON -e 1 >/dev/null 2>&1 ||
    missing="$missing libsisimai-perl libmail-deliverystatus-bounceparser-perl libjson-perl"
{ command -v postfix || ls /usr/sbin/postfix; } >/dev/null 2>&1 || missing="$missing postfix"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ]; then
    echo "not installed:$missing (tests that need them are skipped)"
    exit 0
fi
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null

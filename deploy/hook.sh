#!/bin/sh
# For runners that cannot start hook.js. Not safe where jobs are not trusted: the runner starts this
# file by the first `bash` on a PATH that begins with what steps have added to GITHUB_PATH, so that a
# job can run a program of its own in the runner's container.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec "${EPHEMON_VOLUME:-/ephemon}/bin/ephemon-hook" "$@"

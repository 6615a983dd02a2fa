#!/bin/sh
exec "${EPHEMON_VOLUME:-/ephemon}/bin/ephemon-hook" "$@"

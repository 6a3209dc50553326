#!/bin/bash
# The same promises as forward.sh in generic (skb) mode.
MODE=generic exec "$(dirname "$0")/forward.sh" "$@"

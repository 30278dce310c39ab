#!/bin/sh
# Stands in front of runc on machines whose processes may not hold CAP_SYS_RESOURCE.
# Asking for a capability outside the bounding set makes runc give up ("unable to apply caps: operation not permitted"),
# and privileged containers, the cluster's node among them, ask for all of them: take that one out of the request.
without_capability() {
    if [ -f "$1" ]; then
        sed -z -E -i 's/,\s*"CAP_SYS_RESOURCE"//g; s/"CAP_SYS_RESOURCE"\s*,?\s*//g' "$1"
    fi
}
previous=
for word in "$@"; do
    case $previous in
        --bundle | -b) without_capability "$word/config.json" ;;
        --process | -p) without_capability "$word" ;;
    esac
    case $word in
        --bundle=*) without_capability "${word#--bundle=}/config.json" ;;
        --process=*) without_capability "${word#--process=}" ;;
    esac
    previous=$word
done
exec "${UNDERSTUDY_RUNC:-/usr/sbin/runc}" "$@"

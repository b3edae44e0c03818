#!/bin/bash
# image.sh NAME[:TAG] FOLDER CONFIG: an image with one layer, in the form that `ctr images import` takes.
. "$(dirname "$0")/lib.sh"
NAME=$1 FOLDER=$2 CONFIG=$3
mkdir -p "$IMAGES"
FILE=$(basename "$NAME"); FILE=$IMAGES/${FILE%%:*}
WORK=$(mktemp -d -p "$STATE"); trap 'rm -rf "$WORK"' EXIT
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$FOLDER" -cf "$WORK/layer.tar" .
LAYER=$(sha256sum "$WORK/layer.tar" | cut -d' ' -f1)
printf '{"architecture":"amd64","os":"linux","config":%s,"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
  "$CONFIG" "$LAYER" > "$WORK/config.json"
printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$NAME" > "$WORK/manifest.json"
tar -C "$WORK" -cf "$FILE.tar" manifest.json config.json layer.tar
echo "$NAME" > "$FILE.name"

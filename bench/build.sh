#!/usr/bin/env bash
# Build the load generator, the peers and the yardsticks into a folder: build.sh FOLDER.
# The chaussette command goes there, too.
set -euo pipefail
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")"
for module in wsload peers limit; do
  go build -C "$module" -o "$out/" ./...
done
for program in raw-c-epoll raw-c-uring raw-c-siblings; do
  libraries=()
  [ "$program" = raw-c-epoll ] || libraries=(-luring -lpthread)
  cc -O2 -Wall -Wextra -o "$out/$program" "limit/$program/main.c" "${libraries[@]}"
done
[ ! -f ../main.go ] || CGO_ENABLED=0 go build -C .. -trimpath -o "$out/chaussette" .
